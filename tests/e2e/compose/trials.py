"""Failures and maintenance while clients use the service. Each trial returns its results, or raises TrialFailed."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.chaos.audit import audit
from benchmarks.chaos.webhooks import check_deliveries, has_passed
from tests.e2e.compose.jobs import Clients
from tests.e2e.compose.shell import TrialFailed, wait_until
from tests.e2e.compose.stack import ROOT, SERVICES, WITH_SENTINELS, Stack

_JOBS = 150
_ACCEPTED = 30
"""After so many jobs are accepted, every worker has jobs in flight."""
_UNDER_WAY_S = 60.0
_CRASHES = 5
"""Number of attempts: a worker that dies may have no job in flight."""
_CUT_S = 40.0
"""Longer than MASKQ_GIVE_UP_S and MASKQ_LEASE_S: other workers have its jobs when it comes back."""
_DEADLINE_S = 25.0
"""nginx.conf allows 10 s for a header, and 10 s between two parts of a body."""
_ANNOUNCED_S = 60.0
_FAILOVER_S = 60.0
_HEALTHY_S = 60.0
_WORKERS = SERVICES["worker"]

Results = dict[str, Any]


def hardening(stack: Stack, clients: Clients) -> Results:
    """No process is root, has a capability or can gain one, or can write outside its volumes."""
    for service in SERVICES:
        for container in stack.containers(service):
            status = _process_status(stack.process_id(container))
            wanted = {"CapEff": "0000000000000000", "CapBnd": "0000000000000000", "NoNewPrivs": "1"}
            wrong = {name: status[name] for name, value in wanted.items() if status[name] != value}
            if wrong or status["Uid"].split()[0] == "0":
                raise TrialFailed(f"{service} has more rights than it needs: {wrong or 'it is root'}")
            if not stack.inspect(container)["HostConfig"]["ReadonlyRootfs"]:
                raise TrialFailed(f"{service} can write to its root file system")
    for service in ("api", "worker"):
        stack.python(stack.containers(service)[0], _MUST_NOT_WRITE)
    return {"containers": sum(SERVICES.values())}


_MUST_NOT_WRITE = """
try:
    open("/app/x", "w")
except OSError:
    raise SystemExit(0)
raise SystemExit("could write")
"""


def _process_status(process_id: int) -> dict[str, str]:
    lines = Path(f"/proc/{process_id}/status").read_text("utf-8").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def slow_clients(stack: Stack, clients: Clients) -> Results:
    """The proxy closes the connection of a client that sends its header or its body too slowly."""
    head = b"POST /segment/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
    return {"header_closed_s": _closed_after(stack, head), "body_closed_s": _closed_after(stack, head + b"\r\n{")}


def _closed_after(stack: Stack, sent: bytes) -> float:
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", stack.port), timeout=_DEADLINE_S) as connection:
        connection.sendall(sent)
        try:
            while connection.recv(4096):
                pass
        except TimeoutError:
            raise TrialFailed(f"a slow client was still connected after {_DEADLINE_S:g} s") from None
    return time.monotonic() - begin


def no_failure(stack: Stack, clients: Clients) -> Results:
    """No failure at all."""
    return without_reaping(under_load(stack, clients, lambda: None))


def worker_crash(stack: Stack, clients: Clients) -> Results:
    """A worker's process dies with jobs in flight. The container engine restarts it."""
    worker = stack.containers("worker")[0]
    for _ in range(_CRASHES):
        results = under_load(stack, clients, lambda: stack.crash(worker))
        results["all_back_s"] = stack.wait_until_ready(_WORKERS)
        if results["leases_reaped"]:
            return results
    raise TrialFailed("the worker had no job in flight whenever it died, so the trial shows nothing")


def api_crash(stack: Stack, clients: Clients) -> Results:
    """The front end's process dies. The container engine restarts it."""
    return under_load(stack, clients, lambda: stack.crash(stack.containers("api")[0]))


def redis_crash(stack: Stack, clients: Clients) -> Results:
    """Redis dies. The container engine restarts it, and it reads its log."""
    before = _count(stack, "maskq_jobs_accepted_total")
    results = under_load(stack, clients, lambda: stack.crash(stack.containers("redis")[0]))
    if _count(stack, "maskq_jobs_accepted_total") < before + _JOBS:
        raise TrialFailed("Redis lost data in the crash")
    return results | {"all_back_s": stack.wait_until_ready(_WORKERS)}


def webhooks_crash(stack: Stack, clients: Clients) -> Results:
    """The deliverer of webhooks dies while jobs end. `announced` checks that no webhook is missing."""
    return under_load(stack, clients, lambda: stack.crash(stack.containers("webhooks")[0]))


def partition(stack: Stack, clients: Clients) -> Results:
    """A worker loses the network of Redis for longer than its leases, then gets it back."""
    worker = stack.containers("worker")[0]
    stack.cut_off(worker)
    try:
        results = under_load(stack, clients, lambda: time.sleep(_CUT_S))
    finally:
        stack.reconnect(worker)
    return results | {"all_back_s": stack.wait_until_ready(_WORKERS)}


def partition_with_jobs_in_flight(stack: Stack, clients: Clients) -> Results:
    """A worker with jobs in flight loses the network: others finish the jobs, and its late results are refused."""
    worker = stack.containers("worker")[0]

    def cut_and_reconnect() -> None:
        stack.cut_off(worker)
        time.sleep(_CUT_S)
        stack.reconnect(worker)

    return under_load(stack, clients, cut_and_reconnect) | {"all_back_s": stack.wait_until_ready(_WORKERS)}


def scaling(stack: Stack, clients: Clients) -> Results:
    """Down to one worker under load, and up again. A stopped worker releases the jobs that it cannot finish."""

    def down_and_up() -> None:
        stack.documented("docker compose up -d --scale worker=1")
        stack.wait_until_ready(1)
        stack.documented("docker compose up -d")

    results = under_load(stack, clients, down_and_up)
    stack.wait_until_ready(_WORKERS)
    return without_reaping(results)


def stop_and_start(stack: Stack, clients: Clients) -> Results:
    """All services stop while accepted jobs are unfinished, and start again."""
    return without_reaping(under_load(stack, clients, lambda: (stack.compose("stop"), stack.compose("start"))))


def written(stack: Stack, clients: Clients) -> Results:
    """The log of Redis shows that no job ended twice or has two results."""
    found = audit(stack.volume("redis-data"))
    if found.double_commits or found.duplicates:
        raise TrialFailed(f"{found.double_commits} double commits, {found.duplicates} duplicates")
    return {"accepted": len(found.accepted), "double_commits": 0, "duplicates": 0, "refusals": dict(clients.refusals)}


def announced(stack: Stack, clients: Clients) -> Results:
    """Every job accepted so far has a webhook, with a valid signature and one id."""
    missing = set(clients.accepted)

    def are_announced() -> bool:
        missing.difference_update(note.job_id for note in clients.receiver.notes())
        return not missing

    wait_until(are_announced, "the last webhooks", _ANNOUNCED_S)
    figures = check_deliveries(clients.accepted, clients.receiver.notes())
    if not has_passed(figures):
        raise TrialFailed(f"webhooks are not as they must be: {figures}")
    (deliverer,) = stack.containers("webhooks")
    wait_until(lambda: stack.is_healthy(deliverer), "a healthy deliverer", _HEALTHY_S)
    return figures


def new_password(stack: Stack, clients: Clients) -> Results:
    """The password of Redis is rotated as docs/operations.md explains."""

    def rotate() -> None:
        before = _redis_url(stack)
        stack.documented("docker compose stop")
        stack.documented(_NEW_PASSWORD)
        stack.documented("docker compose up -d")
        if _redis_url(stack) == before:
            raise TrialFailed("the password is the old one")

    return under_load(stack, clients, rotate)


_NEW_PASSWORD = (
    "docker compose run --rm --no-deps secrets sh -c 'rm /run/secrets/redis/users.acl && sh /users /run/secrets'"
)


def _redis_url(stack: Stack) -> str:
    return (stack.volume("api-secrets") / "redis_url").read_text("utf-8")


def backup_and_restore(stack: Stack, clients: Clients) -> Results:
    """A restored backup has every job from before the backup, and none from after it."""
    kept = one_job(stack)
    stack.documented("docker compose stop redis")
    stack.documented(_BACKUP)
    stack.documented("docker compose start redis")
    stack.wait_until_ready(_WORKERS)
    later = one_job(stack)
    stack.documented("docker compose stop")
    stack.documented(_RESTORE)
    stack.documented("docker compose up -d")
    stack.wait_until_ready(_WORKERS)
    found = {
        name: httpx2.get(f"{stack.url}/jobs/{job}").status_code for name, job in {"kept": kept, "later": later}.items()
    }
    if found != {"kept": 200, "later": 404}:
        raise TrialFailed(f"after a restore, the jobs from before and after the backup have the status {found}")
    return found


_BACKUP = 'docker run --rm -v maskq_redis-data:/data -v "$PWD:/backup" redis:7 tar -C /data -cf /backup/redis.tar .'
_RESTORE = (
    'docker run --rm -v maskq_redis-data:/data -v "$PWD:/backup" redis:7 '
    "sh -c 'rm -rf /data/* && tar -C /data -xf /backup/redis.tar'"
)


def sentinels(stack: Stack, clients: Clients) -> Results:
    """Replicas and sentinels are added as docs/operations.md explains. Then the primary dies and another takes over."""
    kept = one_job(stack)
    stack.configure(WORKERS=str(_WORKERS), COMPOSE_FILE=WITH_SENTINELS, MASKQ_CONFIRM_REPLICAS="1")
    stack.documented("docker compose up -d")
    stack.wait_until_ready(_WORKERS)
    first = _primary(stack)

    def lose_primary() -> None:
        stack.compose("kill", "redis")
        wait_until(lambda: _primary(stack) not in ("", first), "another primary", _FAILOVER_S)

    results = under_load(stack, clients, lose_primary)
    stack.compose("start", "redis")
    results["all_back_s"] = stack.wait_until_ready(_WORKERS)
    if (status := httpx2.get(f"{stack.url}/jobs/{kept}").status_code) != 200:
        raise TrialFailed(f"a job from before the replicas has the status {status}")
    return results | {"primary": _primary(stack)}


def _primary(stack: Stack) -> str:
    """The name of the primary, as the front end finds it. Empty if no sentinel names one."""
    found = stack.python(stack.containers("api")[0], _FIND_PRIMARY)
    return found.strip()


_FIND_PRIMARY = """
from redis.exceptions import RedisError
from shared.settings import Settings
from shared.store.connection import primary_of
try:
    print(primary_of(Settings.of().redis).find().host)
except RedisError:
    print()
"""


def one_job(stack: Stack) -> str:
    """Submit the sample image. Returns the id of the job."""
    with (ROOT / "models/demo/sample.jpg").open("rb") as image:
        answer = httpx2.post(
            f"{stack.url}/segment/", data={"prompt": "red circle"}, files={"image_file": image}, timeout=30
        )
    job_id: str = answer.raise_for_status().json()["id"]
    return job_id


def without_reaping(results: Results) -> Results:
    """Checks that no lease ran out: workers that stop as planned release their jobs."""
    if results["leases_reaped"]:
        raise TrialFailed(f"{results['leases_reaped']} leases ran out although no worker died")
    return results


def under_load(stack: Stack, clients: Clients, action: Callable[[], object]) -> Results:
    """Submit jobs, call `action` while they are in flight, and wait for the end of every job."""
    reaped = _count(stack, "maskq_leases_reaped_total")
    begin = time.monotonic()
    submitted = clients.start(_JOBS)
    wait_until(lambda: sum(each.done() for each in submitted) >= _ACCEPTED, "jobs in flight", _UNDER_WAY_S)
    action()
    results: Results = {**clients.results(submitted), "seconds": time.monotonic() - begin}
    if results["lost"] or results["wrong"]:
        raise TrialFailed(f"{results['lost']} jobs lost and {results['wrong']} wrong of {results['jobs']}")
    return results | {"leases_reaped": _count(stack, "maskq_leases_reaped_total") - reaped}


def _count(stack: Stack, metric: str) -> int:
    """A metric of the ledger, from the front end's /metrics, summed over its labels."""
    program = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    shown = stack.python(stack.containers("api")[0], program)
    return int(sum(float(line.split()[-1]) for line in shown.splitlines() if line.startswith(metric)))


Trial = Callable[[Stack, Clients], Results]

FAILURES: tuple[Trial, ...] = (
    hardening,
    slow_clients,
    no_failure,
    worker_crash,
    api_crash,
    redis_crash,
    webhooks_crash,
    partition,
    partition_with_jobs_in_flight,
    scaling,
    stop_and_start,
    new_password,
)
CHECKS: tuple[Trial, ...] = (written, announced, backup_and_restore, sentinels)
"""The last trials: they look at the data of all others."""
