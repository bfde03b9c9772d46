"""The front end over a real store, and the workers' side of that store without a worker."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.servers import front_end


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx2.Client]:
    """A client of a front end that needs no keys. It is plain HTTP, so no time is spent on loading certificates."""
    with front_end(settings) as url, httpx2.Client(base_url=url, timeout=20, verify=False) as client:
        yield client


@pytest.fixture
def leases(settings: Settings) -> Iterator[LeaseStore]:
    """What a worker would use."""
    store = LeaseStore.connect(settings)
    yield store
    store.close()
