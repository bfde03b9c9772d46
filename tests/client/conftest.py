"""One real service for all tests of the client, with a scripted worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from maskq import Client

from testing.fleet import Fleet
from testing.pictures import encoded, gradient


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service that needs no keys."""
    with Fleet(tmp_path_factory.mktemp("service"), deliverers=0, SCRIPTED_MS="5") as fleet:
        yield fleet.url


@pytest.fixture
def client(service: str) -> Iterator[Client]:
    with Client(service) as client:
        yield client


@pytest.fixture(scope="session")
def png() -> bytes:
    """The picture in all tests: 64 x 48."""
    return encoded(gradient(64, 48))


@pytest.fixture
def photo(tmp_path: Path, png: bytes) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(png)
    return path
