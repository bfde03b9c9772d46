"""The receiver in docs/webhooks.md works, and the list of retries there is the default."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from local.broker import free_port
from shared.domain.job import ANONYMOUS
from shared.settings import Settings
from testing.fleet import Fleet
from testing.pictures import small_png
from testing.signing_secrets import webhook_secrets

pytestmark = pytest.mark.slow

_UNITS_S = {"s": 1, "min": 60, "h": 3_600}


@pytest.fixture
def page(root: Path) -> str:
    return (root / "docs" / "webhooks.md").read_text("utf-8")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    settings = {
        "MASKQ_URL_ALLOW_HTTP": "true",
        "MASKQ_URL_ALLOW_PRIVATE": "true",
        "MASKQ_WEBHOOK_RETRIES_S": "0.5," * 60,
    }
    with Fleet(tmp_path / "fleet", workers=1, deliverers=1, **settings) as fleet:
        yield fleet


def test_the_receiver_that_is_shown_handles_each_event_once(page: str, fleet: Fleet, tmp_path: Path) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "shown_receiver.py").write_text(program, "utf-8")
    port, secret = free_port(), webhook_secrets(Settings.of(redis_url=fleet.broker_url), ANONYMOUS)[0]
    serve = ["--app-dir", str(tmp_path), "--port", str(port), "--log-level", "warning", "shown_receiver:app"]
    receiver = fleet.start("receiver", [sys.executable, "-m", "uvicorn", *serve], WEBHOOK_SECRET=secret)
    with httpx2.Client(base_url=fleet.url, timeout=20) as client:
        data = {"prompt": "cat", "webhook_url": f"http://127.0.0.1:{port}/maskq"}
        job = client.post("/segment/", data=data, files={"image_file": ("a.png", small_png())}).json()
        webhooks = f"/jobs/{job['id']}/webhooks"

        def is_delivered() -> bool:
            return [each["state"] for each in client.get(webhooks).json()["deliveries"]] == ["delivered"]

        fleet.wait_for(is_delivered, "the delivery")
        client.post(f"{webhooks}/redeliver").raise_for_status()
        fleet.wait_for(is_delivered, "the second delivery")
        forged = httpx2.post(data["webhook_url"], json={"data": job}, headers={"webhook-id": "evt_1"})
    assert forged.status_code == 401
    assert fleet.log(receiver).read_text("utf-8").splitlines() == [f"{job['id']} succeeded"]


def test_the_schedule_on_the_page_is_the_default(page: str) -> None:
    (listed,) = re.findall(r"tried again after (.*?), each counted", page.replace("\n", " "))
    delays = [int(number) * _UNITS_S[unit] for number, unit in re.findall(r"(\d+) (s|min|h)\b", listed)]
    assert tuple(delays) == Settings.of().webhooks.webhook_retries_s
