"""What the log says about answers with an error: a traceback only where nobody expected the error."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import httpx2
import pytest
from redis import Redis

from shared.settings import Settings
from testing.pictures import encoded, gradient
from testing.servers import front_end

_PNG = encoded(gradient(64, 48))


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx2.Client]:
    """A client of a front end that refuses jobs for models without workers."""
    refusing = settings.replace(accept_unserved=False)
    with front_end(refusing) as url, httpx2.Client(base_url=url, timeout=20, verify=False) as client:
        yield client


def _submit(client: httpx2.Client) -> httpx2.Response:
    return client.post("/segment/", data={"prompt": "cat"}, files={"image_file": ("a.png", _PNG)})


def _lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What was logged about the request, beside its line in the access log."""
    return [each for each in caplog.records if each.name.startswith("api.http") and each.name != "maskq.access"]


def test_an_unserved_model_is_one_line_without_a_traceback(
    client: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    answer = _submit(client)
    assert (answer.status_code, answer.json()["type"]) == (503, "model_unserved")
    (line,) = _lines(caplog)
    assert line.getMessage() == "POST /segment/: model_unserved"
    assert not any(each.exc_info for each in caplog.records)


def test_a_store_that_refuses_is_one_line_without_a_traceback(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        Redis.from_url(settings.redis.redis_url) as redis,
        front_end(settings) as url,
        httpx2.Client(base_url=url, timeout=20, verify=False) as client,
    ):
        redis.config_set("min-replicas-to-write", "1")
        try:
            answer = _submit(client)
        finally:
            redis.config_set("min-replicas-to-write", "0")
    assert (answer.status_code, answer.json()["type"]) == (503, "store_unavailable")
    (line,) = _lines(caplog)
    assert line.getMessage() == "the store failed: it has too few replicas to take writes (NOREPLICAS): ResponseError"
    assert not any(each.exc_info for each in caplog.records)
