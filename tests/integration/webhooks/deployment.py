"""A client of a front end, and a worker without a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx2

from shared.settings import Settings
from shared.store.leases import LeaseStore, Outcome
from testing.factories import failure, success
from testing.pictures import encoded, gradient

PNG = encoded(gradient(64, 48))
TIMEOUT_S = 1.0
"""Of a delivery."""
LEASE_S = 0.5
"""Of a job."""
SUCCESS = success()
FAILURE = failure()


class Deployment:
    """A client of a front end, and the store as a worker sees it."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.settings = settings
        self.client = httpx2.Client(base_url=url, timeout=20)
        self.leases = LeaseStore.connect(settings)

    def close(self) -> None:
        self.client.close()
        self.leases.close()

    def try_to_submit(self, headers: dict[str, str] | None = None, **fields: Any) -> httpx2.Response:
        files = {"image_file": ("a.png", PNG)}
        return self.client.post("/segment/", headers=headers, data={"prompt": "cat", **fields}, files=files)

    def submit(self, url: str, **fields: Any) -> str:
        response = self.try_to_submit(webhook_url=url, **fields)
        assert response.status_code == 202, response.text
        job_id: str = response.json()["id"]
        return job_id

    def finish(self, outcome: Outcome = SUCCESS) -> None:
        lease = self.leases.claim("demo", is_idle=True)
        assert lease is not None
        assert self.leases.finish(lease, outcome)

    def submit_and_finish(self, url: str, **fields: Any) -> str:
        job_id = self.submit(url, **fields)
        self.finish()
        return job_id

    def delivery(self, job_id: str) -> dict[str, Any]:
        deliveries: list[dict[str, Any]] = self.client.get(f"/jobs/{job_id}/webhooks").json()["deliveries"]
        (delivery,) = deliveries
        return delivery

    def wait_for(self, job_id: str, happened: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while not happened(delivery := self.delivery(job_id)):
            assert time.monotonic() < deadline, delivery
            time.sleep(0.02)
        return delivery

    def settled(self, job_id: str) -> dict[str, Any]:
        """The delivery, once it is no longer pending."""
        return self.wait_for(job_id, lambda delivery: delivery["state"] != "pending")
