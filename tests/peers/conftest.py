"""A service that finds one object for each phrase, for the tools that ask it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from testing.fleet import Fleet
from tests.peers.environment import peers_python


@pytest.fixture(scope="session")
def phrase_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL."""
    peers_python()
    worker = (sys.executable, "-m", "tests.client.labelstudio.phrase_worker")
    with Fleet(tmp_path_factory.mktemp("phrases"), worker, deliverers=0) as fleet:
        yield fleet.url
