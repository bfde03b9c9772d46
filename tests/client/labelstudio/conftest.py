"""A real service whose worker names what was asked for, a backend in front of it, and what stands for Label Studio."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testing.fleet import Fleet
from tests.client.labelstudio.backend_process import backend_process
from tests.client.labelstudio.stand_in import TOKEN, StandIn, stand_in


@pytest.fixture(scope="session")
def phrase_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a service that finds one object for each phrase."""
    worker = (sys.executable, "-m", "tests.client.labelstudio.phrase_worker")
    with Fleet(tmp_path_factory.mktemp("phrases"), worker, deliverers=0) as fleet:
        yield fleet.url


@pytest.fixture(scope="session")
def running_label_studio(png: bytes) -> Iterator[StandIn]:
    with stand_in() as running:
        running.files["/data/upload/1/photo.png"] = png
        yield running


@pytest.fixture
def label_studio(running_label_studio: StandIn) -> StandIn:
    """With one uploaded file, `/data/upload/1/photo.png`."""
    running_label_studio.received.clear()
    return running_label_studio


@pytest.fixture(scope="session")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the backend logs."""
    return tmp_path_factory.mktemp("backend") / "backend.log"


@pytest.fixture(scope="session")
def backend(phrase_service: str, running_label_studio: StandIn, log: Path) -> Iterator[str]:
    """The URL of `maskq labelstudio`."""
    with backend_process(phrase_service, running_label_studio.url, log, LABEL_STUDIO_API_KEY=TOKEN) as url:
        yield url
