"""What the logs of a running service contain about a job, and what they never contain."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog

from shared.domain.api_key import Scope
from shared.process.logs import set_up_logging
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore
from testing.fleet import Fleet
from tests.jobs import PNG, submit

pytestmark = pytest.mark.slow

_SECRET = "s3cr3t-in-a-url"
_PROMPT = "my own diary"


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, restored at the end."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    root.handlers, root.level = handlers, level
    logging.captureWarnings(capture=False)


async def _make_key(settings: Settings) -> str:
    store = ApiKeyStore.connect(settings.redis)
    try:
        return (await store.create("somebody", [Scope.SUBMIT, Scope.READ]))[1]
    finally:
        await store.close()


def test_logs_follow_a_job_from_http_to_the_worker_without_secrets(tmp_path: Path) -> None:
    with Fleet(tmp_path, MASKQ_REQUIRE_KEYS="true", MASKQ_LOG_FORMAT="json", MASKQ_URL_TIMEOUT_S="1") as fleet:
        key = asyncio.run(_make_key(Settings.of(redis_url=fleet.broker_url)))
        headers = {"Authorization": f"Bearer {key}", "X-Request-ID": "request-7", "Idempotency-Key": "once-4711"}
        with httpx2.Client(base_url=fleet.url, timeout=60, headers=headers) as client:
            job = submit(client, prompt=_PROMPT, headers={"Prefer": "wait=60"}).json()
            assert job["status"] == "succeeded"
            secret_url = f"https://user:{_SECRET}@127.0.0.1/{_SECRET}?token={_SECRET}"
            answer = client.post(
                "/segment/", json={"prompt": "cat", "image_url": secret_url}, headers={"Idempotency-Key": ""}
            )
            assert answer.status_code == 422
            client.get("/jobs", params={"cursor": _SECRET})
            overlay = client.post(f"/jobs/{job['id']}/links").json()["overlay"]
            assert [httpx2.get(each).status_code for each in (overlay, f"{overlay}x")] == [200, 403]
        logs = {name: (tmp_path / f"{name}.log").read_text("utf-8") for name in ("api", "worker-1")}
    for text in logs.values():
        for secret in (key, key.removeprefix("maskq_"), _SECRET, _PROMPT, "once-4711", overlay[-43:], PNG[:8].hex()):
            assert secret not in text
    lines = {name: _json_lines(text) for name, text in logs.items()}
    (accepted,) = [line for line in lines["api"] if line.get("job_id") == job["id"] and "status" in line]
    assert accepted["event"] == "POST /segment/"
    assert (accepted["request_id"], accepted["status"], accepted["level"]) == ("request-7", 200, "info")
    assert accepted["caller"].startswith("key-")
    events = [line["event"] for line in lines["worker-1"] if line.get("job_id") == job["id"]]
    assert events == ["claimed, attempt 1", "succeeded"]


def _json_lines(text: str) -> list[dict[str, Any]]:
    """Every line as JSON. The lines of uvicorn and Celery are JSON too."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_logged_error_has_its_traceback_without_values_of_variables(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    set_up_logging(Settings.of(log_format=form).logging)
    with structlog.contextvars.bound_contextvars(job_id="job-1"):
        password = _SECRET
        try:
            int(password[:0])
        except ValueError:
            logging.getLogger("a.dependency").exception("it broke")
    log = capsys.readouterr().err
    assert "Traceback" in log
    assert "it broke" in log
    assert "job-1" in log
    assert "a.dependency" in log
    assert _SECRET not in log
    assert (log.count(os.linesep) == 1) == (form == "json")


_FORGED = "\n2026-01-01T00:00:00Z [info     ] forged [maskq]"
_HOSTILE = ["\n", "\r", "\x1b[2J", "\x9b31m", "\x85", "\u2028", "\u202e", "\u200b", "\ud800", "\0", "\x7f"]


def _fail(text: str) -> None:
    raise ValueError(text)


def _log(form: str, capsys: pytest.CaptureFixture[str], text: str) -> str:
    """The lines of log records with this text in all places where a record may have text."""
    set_up_logging(Settings.of(log_format=form).logging)
    logger = logging.getLogger("a.dependency" + text)
    with structlog.contextvars.bound_contextvars(job_id=text, **{text: text}):
        logger.warning(
            "GET %s", text, extra={"model_id": text, "names": [text], "raw": text.encode("utf-8", "replace")}
        )
        try:
            _fail(text)
        except ValueError:
            logger.exception(text)
    return capsys.readouterr().err


@pytest.mark.parametrize("hostile", [_FORGED, *_HOSTILE])
@pytest.mark.parametrize("form", ["json", "text"])
def test_no_text_of_a_client_begins_a_line_or_controls_a_terminal(
    root_logger: logging.Logger, capsys: pytest.CaptureFixture[str], form: str, hostile: str
) -> None:
    with_text, without = _log(form, capsys, f"a{hostile}b"), _log(form, capsys, "ab")
    assert len(with_text.splitlines()) == len(without.splitlines())
    assert all(each.isprintable() for each in with_text.split("\n"))
    if form == "json":
        assert [json.loads(line)["job_id"] for line in with_text.splitlines()] == [f"a{hostile}b"] * 2


def test_a_path_cannot_forge_a_log_line(tmp_path: Path) -> None:
    with Fleet(tmp_path, MASKQ_LOG_FORMAT="text") as fleet, httpx2.Client(base_url=fleet.url) as client:
        for text in ("%0a2026-01-01T00:00:00Z%20forged", "%1b%5b2J", "%e2%80%a8forged", "%c2%9b31m", "%00", "%ff"):
            client.get(f"/{text}")
        client.get("/livez", headers={"X-Request-ID": "a\x1b[2J"})
        log = (tmp_path / "api.log").read_text("utf-8")
    assert "GET /\\n2026-01-01T00:00:00Z forged" in log
    assert all(line.isprintable() for line in log.split("\n"))
    assert not any(line.startswith("2026-01-01") for line in log.splitlines())
