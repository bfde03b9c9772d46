"""Counts accepted jobs that are lost, wrong or double while processes are killed and frozen and messages are dropped.

    python -m benchmarks.chaos.jobs [--jobs 2000] [--seconds 150] [--workers 3] [--demo] [--save NAME]

The service is real: front end, Celery workers and broker, with short leases. The model is a script, or with `--demo`
the demo checkpoint. The clients' own list of accepted jobs says what is right: each job must end once, with the right
mask; canceled only if its client canceled it or its timeout passed; failed only if it kills workers, and then as
`worker_lost`. The server's own log of writes says how often each job ended. Exit status 1 if any is lost, wrong or
double.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos import run
from benchmarks.chaos.audit import audit
from benchmarks.chaos.clients import ChaosClients, demo_jobs, scripted_jobs
from benchmarks.chaos.faults import Faults, count
from benchmarks.chaos.observer import Observer
from benchmarks.chaos.oracle import summary
from benchmarks.chaos.process_faults import FREEZE_S, broker_faults, resume_workers, worker_and_front_end_faults
from testing.fleet import DEMO_WORKER, SCRIPTED_WORKER, Fleet
from worker.job_runner import REFUSED


@dataclass(frozen=True)
class Plan(run.Plan):
    """How many jobs and faults a run has, and which workers."""

    jobs: int = 2_000
    seconds: float = 150.0
    fault_every_s: float = 1.5
    workers: int = 3
    demo: bool = False
    """Whether the model is the demo checkpoint."""
    poison: int = 3
    """Jobs that kill the worker that runs them; none with the demo checkpoint."""


def run_chaos(plan: Plan, folder: Path) -> dict[str, Any]:
    """Run the service in `folder` under faults. Returns how all accepted jobs ended, and the faults."""
    chance = random.Random(plan.seed)
    begin = time.monotonic()
    with _fleet(plan, folder) as fleet:
        jobs = demo_jobs(plan.jobs, chance, fleet.url) if plan.demo else scripted_jobs(plan.jobs, plan.poison, chance)
        clients = ChaosClients(fleet.url, jobs, plan.seconds)
        kinds = {**worker_and_front_end_faults(fleet, chance), **broker_faults(fleet, chance)}
        with Observer(fleet.url, jobs) as observer:
            with Faults(kinds, plan.fault_every_s, chance) as faults:
                clients.run()
            resume_workers(fleet)
            fleet.wait_until_ready()
            ended = observer.wait_for_ends(plan.drain_s)
            time.sleep(FREEZE_S)  # workers that still believe they have a job report now
            again = observer.read_again()
        refused = fleet.worker_logs().count(REFUSED)
        exits = fleet.exit_counts()
    written = audit(folder / "broker")
    return {
        **summary(jobs, ended, again),
        "double_commits": written.double_commits,
        "stale_commits_refused": refused,
        "submits_repeated": sum(job.submits - 1 for job in jobs),
        "duplicates": written.duplicates + sum(len(job.ids) - 1 for job in jobs),
        "jobs_in_the_log_of_writes": len(written.accepted),
        **count(faults),
        "processes_started_again": exits,
        "refusals": dict(clients.refusals),
        "seconds": time.monotonic() - begin,
    }


def _fleet(plan: Plan, folder: Path) -> Fleet:
    worker = DEMO_WORKER if plan.demo else SCRIPTED_WORKER
    # One job a batch: with others in it, rounding may change the demo's result, and the right one would not be known.
    env = {"MASKQ_MAX_BATCH": "1"} if plan.demo else {"MASKQ_MAX_BATCH": "4", "SCRIPTED_MS": "150"}
    env |= {"MASKQ_WORKER_THREADS": "4", "MASKQ_MAX_QUEUED_JOBS": "100000"}
    return Fleet(folder, worker, plan.workers, deliverers=0, **env)


def has_passed(results: dict[str, Any]) -> bool:
    """Whether no job is lost, wrong or double."""
    return not any(results[name] for name in ("lost", "wrong", "double_commits", "duplicates"))


def main() -> int:
    """Run, print the results as JSON, and return an exit status."""
    parser = run.argument_parser(__doc__, Plan())
    parser.add_argument("--workers", type=int, default=Plan.workers)
    parser.add_argument("--demo", action="store_true", help="with the demo checkpoint instead of a script")
    return run.run_and_report("benchmarks.chaos.jobs", parser, Plan, run_chaos, has_passed)


if __name__ == "__main__":
    sys.exit(main())
