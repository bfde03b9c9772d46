"""The whole service as `scripts/up` runs it: broker, front end and a worker with the demo checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from local.broker import free_port
from local.up import local_service


@pytest.fixture(scope="session")
def service_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running service."""
    folder = tmp_path_factory.mktemp("service")
    with (
        pytest.MonkeyPatch.context() as environment,
        (folder / "log").open("wb") as log,
    ):
        environment.delenv("REDIS_URL", raising=False)
        with local_service("127.0.0.1", free_port(), 1, folder, log) as service:
            service.wait_until_ready(1)
            yield service.url


@pytest.fixture
def client(service_url: str) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=service_url, timeout=90) as client:
        yield client
