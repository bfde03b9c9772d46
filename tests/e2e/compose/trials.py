"""What befalls the service while clients use it. Each trial returns its figures; what is wrong raises."""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.chaos.audit import audit
from benchmarks.chaos.webhooks import check_deliveries, has_passed
from tests.e2e.compose.jobs import Clients
from tests.e2e.compose.shell import TrialFailed, wait_until
from tests.e2e.compose.stack import ROOT, SERVICES, Stack

_JOBS = 150
_ACCEPTED = 30
"""Once so many of them are accepted, and others come, every worker has some in hand."""
_UNDER_WAY_S = 60.0
_CRASHES = 5
"""A worker may be between two jobs when it dies."""
_CUT_S = 40.0
"""Longer than MASKQ_GIVE_UP_S and MASKQ_LEASE_S: others have its jobs when it is back."""
_DEADLINE_S = 25.0
"""nginx.conf gives clients 10 s for a header and between two pieces of a body."""
_ANNOUNCED_S = 60.0
_HEALTHY_S = 60.0
_WORKERS = SERVICES["worker"]

Figures = dict[str, Any]


def hardening(stack: Stack, clients: Clients) -> Figures:
    """Nobody is root, has a capability or could gain one, or can write anywhere but where it must."""
    for service in SERVICES:
        for container in stack.containers(service):
            status = _process_status(stack.process_id(container))
            wanted = {"CapEff": "0000000000000000", "CapBnd": "0000000000000000", "NoNewPrivs": "1"}
            wrong = {name: status[name] for name, value in wanted.items() if status[name] != value}
            if wrong or status["Uid"].split()[0] == "0":
                raise TrialFailed(f"{service} has more rights than it needs: {wrong or 'it is root'}")
            if not stack.inspect(container)["HostConfig"]["ReadonlyRootfs"]:
                raise TrialFailed(f"{service} can write to its root")
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


def slow_clients(stack: Stack, clients: Clients) -> Figures:
    """A client that sends its header, or its body, a byte now and then is shown the door."""
    head = b"POST /segment/ HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n"
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


def peace(stack: Stack, clients: Clients) -> Figures:
    """Nothing happens."""
    return _without_reaping(_while_clients_ask(stack, clients, lambda: None))


def worker_crash(stack: Stack, clients: Clients) -> Figures:
    """A worker's process dies with jobs in hand; the engine starts it again."""
    worker = stack.containers("worker")[0]
    for _ in range(_CRASHES):
        figures = _while_clients_ask(stack, clients, lambda: stack.crash(worker))
        figures["all_back_s"] = stack.wait_until_ready(_WORKERS)
        if figures["leases_reaped"]:
            return figures
    raise TrialFailed("the worker never had jobs in hand when it died, so this shows nothing")


def api_crash(stack: Stack, clients: Clients) -> Figures:
    """The front end's process dies; the engine starts it again."""
    return _while_clients_ask(stack, clients, lambda: stack.crash(stack.containers("api")[0]))


def redis_crash(stack: Stack, clients: Clients) -> Figures:
    """The server of the ledger dies; the engine starts it again, and it reads its log."""
    before = _count(stack, "maskq_jobs_accepted_total")
    figures = _while_clients_ask(stack, clients, lambda: stack.crash(stack.containers("redis")[0]))
    if _count(stack, "maskq_jobs_accepted_total") < before + _JOBS:
        raise TrialFailed("Redis came back without what it had")
    return figures | {"all_back_s": stack.wait_until_ready(_WORKERS)}


def webhooks_crash(stack: Stack, clients: Clients) -> Figures:
    """Who delivers webhooks dies while jobs end; `announced` sees whether any is missing."""
    return _while_clients_ask(stack, clients, lambda: stack.crash(stack.containers("webhooks")[0]))


def partition(stack: Stack, clients: Clients) -> Figures:
    """A worker is cut off from the ledger for longer than its leases, and comes back."""
    worker = stack.containers("worker")[0]
    stack.cut_off(worker)
    try:
        figures = _while_clients_ask(stack, clients, lambda: time.sleep(_CUT_S))
    finally:
        stack.reconnect(worker)
    return figures | {"all_back_s": stack.wait_until_ready(_WORKERS)}


def partition_with_jobs_in_flight(stack: Stack, clients: Clients) -> Figures:
    """A worker is cut off while it has jobs in hand: others finish them, and what it offers later is refused."""
    worker = stack.containers("worker")[0]

    def cut_and_reconnect() -> None:
        stack.cut_off(worker)
        time.sleep(_CUT_S)
        stack.reconnect(worker)

    return _while_clients_ask(stack, clients, cut_and_reconnect) | {"all_back_s": stack.wait_until_ready(_WORKERS)}


def scaling(stack: Stack, clients: Clients) -> Figures:
    """Down to one worker under load, and up again: who is stopped returns what it cannot finish."""

    def down_and_up() -> None:
        stack.up(workers=1)
        stack.wait_until_ready(1)
        stack.up(_WORKERS)

    figures = _while_clients_ask(stack, clients, down_and_up)
    stack.wait_until_ready(_WORKERS)
    return _without_reaping(figures)


def stop_and_start(stack: Stack, clients: Clients) -> Figures:
    """Everything is stopped with jobs accepted and unfinished, and started again."""
    return _without_reaping(_while_clients_ask(stack, clients, lambda: (stack.compose("stop"), stack.compose("start"))))


def written(stack: Stack, clients: Clients) -> Figures:
    """What the server's own log of writes says: no job ended twice or has two results."""
    found = audit(stack.volume("redis-data"))
    if found.double_commits or found.duplicates:
        raise TrialFailed(f"{found.double_commits} double commits, {found.duplicates} duplicates")
    return {"accepted": len(found.accepted), "double_commits": 0, "duplicates": 0, "refusals": dict(clients.refusals)}


def announced(stack: Stack, clients: Clients) -> Figures:
    """Every job that was accepted so far was announced to its webhook, rightly signed, under one id."""
    missing = set(clients.accepted)

    def are_announced() -> bool:
        missing.difference_update(note.job_id for note in clients.receiver.notes())
        return not missing

    wait_until(are_announced, "the last webhooks", _ANNOUNCED_S)
    figures = check_deliveries(clients.accepted, clients.receiver.notes())
    if not has_passed(figures):
        raise TrialFailed(f"webhooks are not as they must be: {figures}")
    (deliverer,) = stack.containers("webhooks")
    wait_until(lambda: stack.is_healthy(deliverer), "the health of who delivers", _HEALTHY_S)
    return figures


def new_password(stack: Stack, clients: Clients) -> Figures:
    """The password of Redis is rotated as docs/operations.md says."""

    def rotate() -> None:
        before = _redis_url(stack)
        stack.compose("stop")
        stack.compose("run", "--rm", "--no-deps", "secrets", "sh", "-c", _NEW_PASSWORD)
        stack.compose("start")
        if _redis_url(stack) == before:
            raise TrialFailed("the password is the old one")

    return _while_clients_ask(stack, clients, rotate)


_NEW_PASSWORD = "rm /run/secrets/users.acl && sh /users /run/secrets"


def _redis_url(stack: Stack) -> str:
    return (stack.volume("secrets") / "redis_url").read_text("utf-8")


def backup_and_restore(stack: Stack, clients: Clients) -> Figures:
    """A backup brings back every job that there was when it was made, and nothing after that."""
    kept = _one_job(stack)
    with tempfile.TemporaryDirectory() as folder:
        stack.compose("stop", "redis")
        stack.with_data(folder, "tar -C /data -cf /backup/redis.tar .")
        stack.compose("start", "redis")
        stack.wait_until_ready(_WORKERS)
        later = _one_job(stack)
        stack.compose("stop")
        stack.with_data(folder, "rm -r /data/* && tar -C /data -xf /backup/redis.tar")
        stack.compose("start")
    stack.wait_until_ready(_WORKERS)
    found = {
        name: httpx2.get(f"{stack.url}/jobs/{job}").status_code for name, job in {"kept": kept, "later": later}.items()
    }
    if found != {"kept": 200, "later": 404}:
        raise TrialFailed(f"after a restore, jobs before and after the backup answer {found}")
    return found


def _one_job(stack: Stack) -> str:
    with (ROOT / "models/demo/sample.jpg").open("rb") as image:
        answer = httpx2.post(
            f"{stack.url}/segment/", data={"prompt": "red circle"}, files={"image_file": image}, timeout=30
        )
    job_id: str = answer.raise_for_status().json()["id"]
    return job_id


def _without_reaping(figures: Figures) -> Figures:
    """Who is stopped as planned hands jobs back: no lease may have run out."""
    if figures["leases_reaped"]:
        raise TrialFailed(f"{figures['leases_reaped']} leases ran out although nothing died")
    return figures


def _while_clients_ask(stack: Stack, clients: Clients, befalls: Callable[[], object]) -> Figures:
    """Let clients submit jobs, let something happen while they do, and see every job to its end."""
    reaped = _count(stack, "maskq_leases_reaped_total")
    begin = time.monotonic()
    submitted = clients.start(_JOBS)
    wait_until(lambda: sum(each.done() for each in submitted) >= _ACCEPTED, "jobs in hand", _UNDER_WAY_S)
    befalls()
    figures: Figures = {**clients.results(submitted), "seconds": time.monotonic() - begin}
    if figures["lost"] or figures["wrong"]:
        raise TrialFailed(f"{figures['lost']} jobs lost and {figures['wrong']} wrong of {figures['jobs']}")
    return figures | {"leases_reaped": _count(stack, "maskq_leases_reaped_total") - reaped}


def _count(stack: Stack, metric: str) -> int:
    """A figure of the ledger, as the front end shows it to Prometheus."""
    program = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    shown = stack.python(stack.containers("api")[0], program)
    return int(sum(float(line.split()[-1]) for line in shown.splitlines() if line.startswith(metric)))


Trial = Callable[[Stack, Clients], Figures]

TRIALS: tuple[Trial, ...] = (
    hardening,
    slow_clients,
    peace,
    worker_crash,
    api_crash,
    redis_crash,
    webhooks_crash,
    partition,
    partition_with_jobs_in_flight,
    scaling,
    stop_and_start,
    new_password,
    written,
    announced,
    backup_and_restore,
)
