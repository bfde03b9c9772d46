"""The front end reaps jobs too, because no worker may be alive."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.servers import front_end
from tests.jobs import PNG


@pytest.fixture
def quick(settings: Settings) -> Settings:
    return settings.replace(heartbeat_s=0.1, give_up_s=0.2, lease_s=0.3, restart_grace_s=0.0)


@pytest.fixture
def client(quick: Settings) -> Iterator[httpx2.Client]:
    with front_end(quick) as url, httpx2.Client(base_url=url, timeout=60) as client:
        yield client


def _submit(client: httpx2.Client, **fields: str) -> str:
    response = client.post("/segment/", data={"prompt": "cat", **fields}, files={"image_file": ("a.png", PNG)})
    path: str = response.raise_for_status().json()["urls"]["self"]
    return path


def test_a_job_is_canceled_at_its_deadline_although_no_worker_is_alive(client: httpx2.Client) -> None:
    job = client.get(_submit(client, timeout="0.3"), params={"wait": 30}).json()
    assert (job["status"], job["error"]["type"]) == ("canceled", "deadline_exceeded")


def test_a_job_of_a_lost_worker_is_queued_again_although_no_other_is_alive(
    client: httpx2.Client, quick: Settings
) -> None:
    url = _submit(client)
    store = LeaseStore.connect(quick)
    assert store.claim("demo", is_idle=True)
    seen = client.get(url)
    if seen.json()["status"] == "processing":  # on a busy machine it may be queued again already
        seen = client.get(url, params={"wait": 30}, headers={"If-None-Match": seen.headers["ETag"]})
    assert (seen.json()["status"], seen.json()["attempt"]) == ("queued", 1)
    store.close()
