"""Counts accepted jobs that are lost, wrong or double while primaries of Redis die and processes are killed and frozen.

    python -m benchmarks.chaos.sentinels [--jobs 12000] [--seconds 150] [--confirm-replicas 1] [--add-to NAME]

Three servers, three Sentinels, front end, workers, deliverer and a receiver of webhooks are real; the model is a
script. Primaries are killed, frozen, wiped, cut off while clients still reach them, and replaced as planned; replicas,
Sentinels and the service's own processes die as well. The clients' own list of accepted jobs says what is right, as in
`benchmarks.chaos.jobs`; of every fifth job the webhook must arrive under one id. A client that submits every 100 ms
measures how long the service does not accept jobs after a fault of the primary. Exit status 1 if a job is lost, wrong
or double; not so with `--confirm-replicas 0`, where the newest jobs can be lost with the primary: they are counted.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.chaos import run
from benchmarks.chaos.clients import ChaosClients, ClientJob, probe_jobs, scripted_jobs
from benchmarks.chaos.faults import Fault, Faults, count
from benchmarks.chaos.group_faults import OF_THE_PRIMARY, PLANNED, GroupFaults
from benchmarks.chaos.observer import Observer
from benchmarks.chaos.oracle import summary
from benchmarks.chaos.prober import Prober
from benchmarks.chaos.process_faults import (
    FRONT_END_KILLED,
    delivery_faults,
    resume_workers,
    worker_and_front_end_faults,
)
from benchmarks.chaos.webhooks import (
    SHORT_SCHEDULE,
    check_deliveries,
    start_receiver,
    wait_until_all_are_delivered,
    wrong_deliveries,
)
from local.broker import free_port
from testing.fleet import SCRIPTED_WORKER, Fleet
from testing.receiver_process import read_received
from testing.redis_configuration import GroupOptions
from testing.redis_group import RedisGroup
from worker.job_runner import REFUSED

_LEASES = {"MASKQ_HEARTBEAT_S": "1", "MASKQ_GIVE_UP_S": "4", "MASKQ_LEASE_S": "6", "MASKQ_RESTART_GRACE_S": "6"}
"""A failover takes 2 to 3 s: most leases outlast it, as they do in a deployment."""
_FREEZE_S = 7.0
"""How long a worker is frozen: for longer than a lease."""
_FRONT_END_START_S = 5.0
"""Within this time after a kill of the front end, a job may be refused because of that."""
_ANNOUNCED_SHARE = 0.2
"""Of the jobs: they have a webhook."""


@dataclass(frozen=True)
class Plan(run.Plan):
    """How many jobs and faults a run has."""

    jobs: int = 12_000
    seconds: float = 150.0
    fault_every_s: float = 3.0
    group_fault_every_s: float = 2.0
    """Mean time from the end of a fault of the servers and Sentinels to the next one."""
    failovers: int = 0
    """The run goes on until so many have happened, although all jobs were accepted."""
    workers: int = 3
    poison: int = 5
    """Jobs that kill the worker that runs them."""
    confirm_replicas: int = 1
    """How many replicas must have a job before it is accepted."""
    min_replicas_to_write: int = 0
    """How many replicas a server needs to take writes."""


def run_chaos(plan: Plan, folder: Path) -> dict[str, Any]:
    """Run the service in `folder` under faults. Returns how all accepted jobs ended, and the faults."""
    begin = time.monotonic()
    options = GroupOptions(min_replicas_to_write=plan.min_replicas_to_write)
    with RedisGroup(folder / "redis", options) as group, _fleet(plan, folder, group.url) as fleet:
        results = _run_jobs(plan, group, fleet)
        exits, refused = fleet.exit_counts(), fleet.worker_logs().count(REFUSED)
    seconds = round(time.monotonic() - begin)
    results["confirm_replicas"] = plan.confirm_replicas
    return {**results, "stale_commits_refused": refused, "processes_started_again": exits, "seconds": seconds}


def _fleet(plan: Plan, folder: Path, redis_url: str) -> Fleet:
    env = {**SHORT_SCHEDULE, **_LEASES, "MASKQ_MAX_BATCH": "4", "MASKQ_WORKER_THREADS": "4", "SCRIPTED_MS": "30"}
    env |= {"MASKQ_MAX_QUEUED_JOBS": "100000"}
    if plan.confirm_replicas:
        env |= {"MASKQ_CONFIRM_REPLICAS": str(plan.confirm_replicas)}
    return Fleet(folder, SCRIPTED_WORKER, plan.workers, deliverers=1, redis_url=redis_url, **env)


def _run_jobs(plan: Plan, group: RedisGroup, fleet: Fleet) -> dict[str, Any]:
    chance = random.Random(plan.seed)
    address, records = f"127.0.0.1:{free_port()}", fleet.folder / "received"
    receiver = start_receiver(fleet, address, records)
    jobs = _jobs(plan, chance, f"http://{address}/hook")
    clients, prober = ChaosClients(fleet.url, jobs, plan.seconds), Prober(fleet.url, probe_jobs())
    of_group = GroupFaults(group, random.Random(plan.seed + 1))
    group_faults = Faults(of_group.kinds, plan.group_fault_every_s, random.Random(plan.seed + 2))
    kinds = {**worker_and_front_end_faults(fleet, chance, _FREEZE_S), **delivery_faults(fleet, receiver, chance)}
    process_faults = Faults(kinds, plan.fault_every_s, random.Random(plan.seed + 3))
    with Observer(fleet.url, jobs, lambda: prober.accepted) as observer:
        with prober, group_faults, process_faults:
            clients.run()
            group.wait_for(lambda: of_group.failovers >= plan.failovers, "the failovers of the plan", plan.drain_s)
        resume_workers(fleet)
        fleet.wait_until_ready()
        ended = observer.wait_for_ends(plan.drain_s)
        time.sleep(_FREEZE_S)  # workers that still believe they have a job report now
        again, accepted = observer.read_again(), observer.jobs()
    notified = {job.job_id for job in accepted if job.webhook_url}
    wait_until_all_are_delivered(fleet, notified, plan.drain_s)
    return {
        **summary(accepted, ended, again),
        "duplicates": sum(len(job.ids) - 1 for job in accepted),
        "submits_repeated": sum(job.submits - 1 for job in accepted),
        "webhooks": check_deliveries(notified, read_received(records)),
        "failovers": of_group.failovers,
        **count(group_faults, process_faults),
        "served_again_s": _served_again_s(prober, group_faults.injected, process_faults.injected),
        "longest_without_service_s": prober.longest_without_service_s(),
        "refusals": dict(clients.refusals),
    }


def _jobs(plan: Plan, chance: random.Random, url: str) -> list[ClientJob]:
    """Some are canceled, some pass their deadline, some kill workers, and some have a webhook."""
    jobs = scripted_jobs(plan.jobs, plan.poison, chance)
    return [replace(job, webhook_url=url) if chance.random() < _ANNOUNCED_SHARE else job for job in jobs]


def _served_again_s(prober: Prober, faults: Sequence[Fault], of_processes: Sequence[Fault]) -> dict[str, list[float]]:
    """How long after each fault of the primary a job was accepted again; without those at which the front end was
    killed as well."""
    kills = [fault.at for fault in of_processes if fault.kind == FRONT_END_KILLED]
    waits_s: dict[str, list[float]] = {"planned": [], "unplanned": []}
    for fault in faults:
        wait_s = prober.served_again_s(fault)
        if fault.kind not in OF_THE_PRIMARY or wait_s is None:
            continue
        if not any(-_FRONT_END_START_S < at - fault.at < wait_s for at in kills):
            waits_s["planned" if fault.kind == PLANNED else "unplanned"].append(round(wait_s, 3))
    return waits_s


def has_passed(results: dict[str, Any]) -> bool:
    """Whether no job is lost, wrong or double, and every webhook has arrived; or that was not promised."""
    wrong: int = sum(results[name] for name in ("lost", "wrong", "duplicates")) + wrong_deliveries(results["webhooks"])
    return results["confirm_replicas"] == 0 or wrong == 0


def main() -> int:
    """Run, print the results as JSON, and return an exit status."""
    parser = run.argument_parser(__doc__, Plan())
    parser.add_argument("--workers", type=int, default=Plan.workers)
    parser.add_argument("--failovers", type=int, default=Plan.failovers, help="go on until so many have happened")
    parser.add_argument("--confirm-replicas", type=int, default=Plan.confirm_replicas)
    parser.add_argument("--min-replicas-to-write", type=int, default=Plan.min_replicas_to_write)
    parser.add_argument(
        "--group-fault-every",
        dest="group_fault_every_s",
        type=float,
        default=Plan.group_fault_every_s,
        help="seconds between faults of servers and Sentinels",
    )
    return run.run_and_report("benchmarks.chaos.sentinels", parser, Plan, run_chaos, has_passed)


if __name__ == "__main__":
    sys.exit(main())
