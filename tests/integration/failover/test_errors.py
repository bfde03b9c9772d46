"""Errors of a Redis that is there and does not do what it is asked, or is away: every process goes on with its jobs,
clients get 503 or wait, and all works when the server does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from shared.store import key_names
from tests.integration.failover.followers import Followers, following
from tests.integration.failover.following_up import accepted, require_one_attempt, require_quiet_logs, status_of
from tests.integration.failover.holding_receiver import HoldingReceiver, holding_receiver
from tests.integration.failover.server import Server
from tests.integration.failover.troubles import TROUBLES, Trouble
from tests.integration.processes import PROGRAMS, Processes, running_processes

pytestmark = pytest.mark.slow

_TROUBLE_S = 3.0
"""Longer than the period of every periodic task, the heartbeat's of `SHORT_LEASES` included."""
_ENVIRONMENT = {
    "MASKQ_GIVE_UP_S": "50",
    "MASKQ_LEASE_S": "60",
    "MASKQ_REDIS_TIMEOUT_S": "2",
    "MASKQ_URL_ALLOW_HTTP": "true",
    "MASKQ_URL_ALLOW_PRIVATE": "true",
    "SCRIPTED_MS": "120",
}
"""A slow job takes 2.4 s: it ends while the server has the trouble."""
_READS = ("/jobs", "/jobs/{id}", "/jobs/{id}/webhooks", "/jobs/{id}/result", "/models", "/batches/{id}")
_WRITES = ("/jobs/{id}/cancel", "/batches/{id}/cancel", "/jobs/{id}/webhooks/redeliver")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data")
    server.start()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture
def processes(server: Server, tmp_path: Path) -> Iterator[Processes]:
    with running_processes(tmp_path, dict.fromkeys(PROGRAMS, server.url), **_ENVIRONMENT) as processes:
        processes.until(lambda: server.admin.exists(key_names.DELIVERERS) == 1)
        yield processes


@pytest.mark.parametrize("name", TROUBLES)
def test_every_process_outlives_an_error_of_the_server(processes: Processes, server: Server, name: str) -> None:
    trouble = TROUBLES[name]
    trouble.prepare(server)
    with holding_receiver() as receiver:
        delivered = accepted(processes.submit(webhook_url=receiver.url))
        processes.until(lambda: len(receiver.ids) == 1)
        in_hand = accepted(processes.submit(prompt="slow cat"))
        processes.until(lambda: status_of(processes, in_hand) == "processing")
        with following(processes.api_port, in_hand) as followers, processes.client() as client:
            with trouble.happens(server):
                _endure(processes, client, trouble, followers, receiver, in_hand)
            followers.require_success()
            processes.until(lambda: processes.submit().status_code == 202)
            afterwards = accepted(processes.submit())
            processes.until(lambda: processes.has_succeeded(afterwards))
            require_one_attempt(processes, client, delivered)
        assert len(set(receiver.ids)) == len(receiver.ids) == 1
    assert not [line for line in processes.log("worker").splitlines() if in_hand in line and "attempt 2" in line]
    require_quiet_logs(processes)


def _endure(
    processes: Processes,
    client: httpx2.Client,
    trouble: Trouble,
    followers: Followers,
    receiver: HoldingReceiver,
    job_id: str,
) -> None:
    """What holds while the server has the trouble."""
    deadline = time.monotonic() + _TROUBLE_S
    receiver.release()  # the outcome of the attempt cannot be stored now
    while time.monotonic() < deadline:
        processes.require_running()
        assert client.get("/livez").status_code == 200
        if trouble.refusal:
            followers.require_open()
            _require_refused(processes.submit(), trouble.refusal)
        if not trouble.is_slow:
            _require_readiness(client, trouble)
            _require_answers(client, trouble, job_id)
        time.sleep(0.2)
    if trouble.is_slow:
        _require_readiness(client, trouble)


def _require_readiness(client: httpx2.Client, trouble: Trouble) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == (503 if trouble.reason else 200), answer.text
    assert answer.json().get("reason", "").startswith(trouble.reason), answer.text


def _require_answers(client: httpx2.Client, trouble: Trouble, job_id: str) -> None:
    """What needs the ledger is refused, unless what the server has can be read."""
    if trouble.has_primary:
        assert client.get(f"/jobs/{job_id}").status_code == 200
        return
    for path in _READS:
        _require_refused(client.get(path.format(id=job_id)), "store_unavailable")
    for path in _WRITES:
        _require_refused(client.post(path.format(id=job_id)), "store_unavailable")
    _require_refused(client.delete(f"/jobs/{job_id}"), "store_unavailable")
    assert "maskq_store_up 0.0" in client.get("/metrics").text


def _require_refused(answer: httpx2.Response, kind: str) -> None:
    assert (answer.status_code, answer.json()["type"]) == (503, kind), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
