"""The whole service as `scripts/up` runs it: broker, front end, webhooks and a worker with the demo checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from local.broker import free_port
from local.up import local_service


@pytest.fixture(scope="session")
def service_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the running service."""
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="session")
def service_url(service_folder: Path) -> Iterator[str]:
    """The address of a running service."""
    with (
        pytest.MonkeyPatch.context() as environment,
        (service_folder / "log").open("wb") as log,
    ):
        environment.delenv("REDIS_URL", raising=False)
        with local_service("127.0.0.1", free_port(), 1, service_folder, log) as service:
            service.wait_until_ready(1)
            yield service.url


@pytest.fixture
def client(service_url: str) -> Iterator[httpx2.Client]:
    """A client of the running service."""
    with httpx2.Client(base_url=service_url, timeout=90) as client:
        yield client
