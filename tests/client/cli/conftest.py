"""Services for the tests of the command line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.cli.hostile_service import HostileService, hostile_service


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileService]:
    with hostile_service() as service:
        yield service
