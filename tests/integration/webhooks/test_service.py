"""The deliverer as real processes: notified, killed, stopped, and without its store."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from local.supervisor import SupervisedProcess
from shared.domain.job import ANONYMOUS
from shared.settings import Settings
from shared.store.deliveries import DeliveryStore
from testing.fleet import Fleet
from testing.pictures import small_png
from testing.scripted_receiver import Receiver, slow, status
from testing.signing_secrets import webhook_secrets

pytestmark = pytest.mark.slow

_SETTINGS = {
    "MASKQ_URL_ALLOW_HTTP": "true",
    "MASKQ_URL_ALLOW_PRIVATE": "true",
    "MASKQ_WEBHOOK_TIMEOUT_S": "2",
    "MASKQ_WEBHOOK_RETRIES_S": "0.2," * 20,
    "SCRIPTED_MS": "5",
}
_POINTS = {"webhooks.sent"}


class Client:
    """Submits jobs to a fleet, and reads deliveries."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self._client = httpx2.Client(base_url=fleet.url, timeout=10)

    def close(self) -> None:
        self._client.close()

    def submit(self, receiver: Receiver) -> str:
        files = {"image_file": ("a.png", small_png())}
        response = self._client.post("/segment/", data={"prompt": "cat", "webhook_url": receiver.url}, files=files)
        assert response.status_code == 202, response.text
        job_id: str = response.json()["id"]
        return job_id

    def state(self, job_id: str) -> str:
        deliveries = self._client.get(f"/jobs/{job_id}/webhooks").json()["deliveries"]
        return str(deliveries[0]["state"]) if deliveries else "none"

    def wait_for(self, job_id: str, state: str) -> None:
        self.fleet.wait_for(lambda: self.state(job_id) == state, f"{job_id} to be {state}")

    def restart(self, process: SupervisedProcess, **env: str) -> None:
        """Start a process again, with something added to its environment."""
        process.env = {**process.env, **env}
        process.kill()
        self.fleet.wait_for(lambda: bool(process.exit_statuses) and process.process is not None, "a restart")
        process.exit_statuses.clear()


def _deliverers_are_live(fleet: Fleet) -> bool:
    """Whether each deliverer sends heartbeats. Before that, it does not yet handle a signal to stop."""

    async def live() -> list[str]:
        store = DeliveryStore.connect(Settings.of(redis_url=fleet.broker_url))
        try:
            return await store.live_deliverers()
        finally:
            await store.close()

    running = {member.process.pid for member in fleet.deliverers if member.process}
    return running <= {int(name.rpartition(":")[2]) for name in asyncio.run(live())}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet"), workers=1, deliverers=2, **_SETTINGS) as fleet:
        yield fleet


@pytest.fixture
def client(fleet: Fleet) -> Iterator[Client]:
    """Of a fleet whose processes all run."""
    fleet.start_all()
    fleet.wait_for(lambda: _deliverers_are_live(fleet), "heartbeats of the deliverers")
    client = Client(fleet)
    yield client
    client.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as receiver:
        yield receiver


@pytest.fixture
def secret(fleet: Fleet) -> str:
    return webhook_secrets(Settings.of(redis_url=fleet.broker_url), ANONYMOUS)[0]


def test_every_failpoint_of_the_deliverer_is_tested_here(root: Path) -> None:
    sources = "".join(path.read_text("utf-8") for path in (root / "webhooks").rglob("*.py"))
    assert set(re.findall(r'failpoint\("([^"]+)"\)', sources)) == _POINTS


def test_two_services_deliver_each_event_once(client: Client, receiver: Receiver, secret: str) -> None:
    job_ids = [client.submit(receiver) for _ in range(40)]
    for job_id in job_ids:
        client.wait_for(job_id, "delivered")
    times = Counter(received.verified(secret)["data"]["id"] for received in receiver.received)
    assert times == Counter(job_ids)


def test_a_kill_between_sending_and_recording_leads_to_a_repeat_with_the_same_id(
    client: Client, receiver: Receiver, secret: str, tmp_path: Path
) -> None:
    armed = tmp_path / "armed"
    for deliverer in client.fleet.deliverers:
        client.restart(deliverer, MASKQ_FAILPOINT=f"webhooks.sent:{armed}")
    armed.touch()
    job_id = client.submit(receiver)
    client.wait_for(job_id, "delivered")
    first, second = receiver.wait_for(2)
    assert first.id == second.id
    assert first.verified(secret) == second.verified(secret)
    deaths = [deliverer.exit_statuses for deliverer in client.fleet.deliverers if deliverer.exit_statuses]
    assert deaths == [[-signal.SIGKILL]]


def test_a_planned_stop_finishes_deliveries_in_progress(client: Client, receiver: Receiver) -> None:
    receiver.answers = [slow(1.2)] * 4
    job_ids = [client.submit(receiver) for _ in range(4)]
    receiver.wait_for(4)
    for deliverer in client.fleet.deliverers:
        deliverer.terminate(float("inf"))
    client.fleet.wait_for(lambda: all(each.exit_statuses == [0] for each in client.fleet.deliverers), "the stop")
    assert [client.state(job_id) for job_id in job_ids] == ["delivered"] * 4
    later = client.submit(receiver)
    client.wait_for(later, "pending")
    time.sleep(1)
    assert client.state(later) == "pending"
    assert len(receiver.received) == 4
    for deliverer in client.fleet.deliverers:
        deliverer.hold_down(0)
    client.wait_for(later, "delivered")


def test_redis_killed_and_restarted_and_every_webhook_is_delivered(client: Client, receiver: Receiver) -> None:
    receiver.answers = [status(500)] * 10
    job_ids = [client.submit(receiver) for _ in range(10)]
    receiver.wait_for(5)
    client.fleet.broker.kill(1.0)
    client.fleet.wait_for(lambda: bool(client.fleet.broker.exit_statuses), "the kill")
    client.fleet.wait_until_ready()
    for job_id in job_ids:
        client.wait_for(job_id, "delivered")
    assert set(client.fleet.exit_statuses) == {"broker"}


def test_the_command_shows_the_secret_that_signs(client: Client, secret: str) -> None:
    command = [sys.executable, "-m", "local.webhook_secrets", "show"]
    env = {**os.environ, "REDIS_URL": client.fleet.broker_url}
    shown = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert shown.stdout == f"{secret}\n"
    rotate = [*command[:-1], "rotate", "ann"]
    once, twice = (subprocess.run(rotate, env=env, capture_output=True, text=True, check=True) for _ in range(2))
    assert twice.stdout.splitlines()[1:] == once.stdout.splitlines()
    gone = subprocess.run(
        command, env={**env, "REDIS_URL": "redis://127.0.0.1:1"}, capture_output=True, text=True, check=False
    )
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr.startswith("maskq: the store does not answer")


def test_the_command_finds_the_embedded_broker_by_its_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "local.webhook_secrets", "--data", str(tmp_path), "show"]
    env = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    first, again = (subprocess.run(command, env=env, capture_output=True, text=True, check=True) for _ in range(2))
    assert first.stdout == again.stdout
    assert first.stdout.startswith("whsec_")


def test_a_container_is_healthy_while_its_deliverer_sends_heartbeats(client: Client, settings: Settings) -> None:
    def is_healthy(redis_url: str) -> bool:
        command = [sys.executable, "-m", "webhooks.healthcheck"]
        return subprocess.run(command, env={**os.environ, "REDIS_URL": redis_url}, check=False).returncode == 0

    client.fleet.wait_for(lambda: is_healthy(client.fleet.broker_url), "a heartbeat")
    assert not is_healthy(settings.redis.redis_url)  # no deliverer uses this store
    assert not is_healthy("redis://127.0.0.1:1")
