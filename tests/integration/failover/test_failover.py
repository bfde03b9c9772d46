"""A real failover by Sentinel under all kinds of processes: nobody is started again, and all that was accepted ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from shared.store import key_names
from testing.redis_group import RedisGroup
from testing.redis_process import RedisProcess
from tests.integration.failover.followers import following
from tests.integration.failover.following_up import accepted, require_one_attempt, require_quiet_logs, status_of
from tests.integration.failover.holding_receiver import holding_receiver
from tests.integration.processes import PROGRAMS, Processes, running_processes

pytestmark = pytest.mark.slow

_ENVIRONMENT = {
    "MASKQ_CONFIRM_REPLICAS": "1",
    "MASKQ_GIVE_UP_S": "50",
    "MASKQ_LEASE_S": "60",
    "MASKQ_URL_ALLOW_HTTP": "true",
    "MASKQ_URL_ALLOW_PRIVATE": "true",
    "SCRIPTED_MS": "200",
}
"""A primary that is cut off accepts nothing: what it took would be lost. A slow job takes 4 s, a failover 2 s on a
quiet machine."""
_JOBS = 5
_FAULTS: dict[str, Callable[[RedisGroup, RedisProcess], object]] = {
    "killed": lambda group, primary: group.kill(primary),
    "frozen": lambda group, primary: group.freeze(primary),
    "cut off": lambda group, primary: group.cut_off(primary),
    "replaced as planned": lambda group, primary: group.failover(),
}

_LIVING = ("cut off", "replaced as planned")
"""The primary takes writes for a while after another server has taken over. They are lost."""


@pytest.fixture
def processes(redis_group: RedisGroup, tmp_path: Path) -> Iterator[Processes]:
    urls = dict.fromkeys([*PROGRAMS, "worker-2"], redis_group.url)
    with running_processes(tmp_path, urls, **_ENVIRONMENT) as processes:
        with redis_group.client(redis_group.primary()) as redis:
            processes.until(lambda: redis.exists(key_names.DELIVERERS) == 1)
        yield processes


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_failover_ends_no_process_no_stream_and_no_job(
    redis_group: RedisGroup, processes: Processes, fault: str
) -> None:
    with holding_receiver() as receiver, processes.client() as client:
        delivered = accepted(processes.submit(webhook_url=receiver.url))
        processes.until(lambda: len(receiver.ids) == 1)
        in_hand = accepted(processes.submit(prompt="slow cat"))
        processes.until(lambda: status_of(processes, in_hand) == "processing")
        with following(processes.api_port, in_hand) as followers:
            before = [accepted(processes.submit()) for _ in range(_JOBS)]
            _wait_for_replicas(redis_group)
            old = redis_group.primary()
            _FAULTS[fault](redis_group, old)
            receiver.release()
            assert client.get("/livez").status_code == 200
            if fault != "replaced as planned":
                redis_group.wait_for_failover(old)
            processes.until(lambda: _is_stored(redis_group, processes.submit()))
            after = [accepted(processes.submit()) for _ in range(_JOBS)]
            followers.require_success()
        for job_id in (*before, *after):
            processes.until(lambda: processes.has_succeeded(job_id))  # noqa: B023  called at once
        require_one_attempt(processes, client, delivered)
        assert len(set(receiver.ids)) == 1
        assert len(receiver.ids) == 1 or fault in _LIVING  # which may have taken the outcome, and lost it
    processes.require_running()
    require_quiet_logs(processes)


def _is_stored(group: RedisGroup, answer: httpx2.Response) -> bool:
    """Whether the present primary has the job. The one before it may have taken it, if a replica still follows that."""
    with group.client(group.primary()) as redis:
        return answer.is_success and redis.exists(key_names.job(answer.json()["id"])) == 1


def _wait_for_replicas(group: RedisGroup) -> None:
    """Return once both replicas have all that was written so far: what they lack would be lost."""
    with group.client(group.primary(), socket_timeout=20) as redis:
        redis.set("maskq:unused", 1)
        redis.delete("maskq:unused")
        assert redis.wait(2, 15_000) == 2
