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
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import httpx2

from benchmarks.chaos import run
from benchmarks.chaos.audit import audit
from benchmarks.chaos.clients import ChaosClients, ClientJob, demo_jobs, scripted_jobs
from benchmarks.chaos.faults import FREEZE_S, Faults
from shared.domain.result import SegmentationResult
from testing.fleet import DEMO_WORKER, SCRIPTED_WORKER, Fleet
from worker.job_runner import REFUSED

Jobs: TypeAlias = dict[str, dict[str, Any]]
"""Jobs as the service shows them, by their idempotency key."""
_ENDED = ("succeeded", "failed", "canceled")


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
        with Faults(fleet, plan.fault_every_s, chance) as faults:
            clients.run()
        fleet.wait_until_ready()
        ended = _wait_for_ends(fleet, jobs, plan.drain_s)
        time.sleep(FREEZE_S)  # workers that still believe they have a job report now
        again = _read_all(fleet.url, jobs)
        refused = fleet.worker_logs().count(REFUSED)
        fault_stats = faults.stats()
    written = audit(folder / "broker")
    return {
        **_summary(jobs, ended, again),
        "double_commits": written.double_commits,
        "stale_commits_refused": refused,
        "submits_repeated": sum(job.submits - 1 for job in jobs),
        "duplicates": written.duplicates + sum(len(job.ids) - 1 for job in jobs),
        "jobs_in_the_log_of_writes": len(written.accepted),
        **fault_stats,
        "refusals": dict(clients.refusals),
        "seconds": time.monotonic() - begin,
    }


def _fleet(plan: Plan, folder: Path) -> Fleet:
    worker = DEMO_WORKER if plan.demo else SCRIPTED_WORKER
    # One job a batch: with others in it, rounding may change the demo's result, and the right one would not be known.
    env = {"MASKQ_MAX_BATCH": "1"} if plan.demo else {"MASKQ_MAX_BATCH": "4", "SCRIPTED_MS": "150"}
    env |= {"MASKQ_WORKER_THREADS": "4", "MASKQ_MAX_QUEUED_JOBS": "100000"}
    return Fleet(folder, worker, plan.workers, deliverers=0, **env)


def _wait_for_ends(fleet: Fleet, jobs: Sequence[ClientJob], max_s: float) -> Jobs:
    """The jobs that ended within `max_s` seconds, each as it was seen first after its end."""
    deadline = time.monotonic() + max_s
    ended: Jobs = {}
    while time.monotonic() < deadline:
        fresh = _read_all(fleet.url, [job for job in jobs if job.key not in ended])
        ended |= {key: job for key, job in fresh.items() if job["status"] in _ENDED}
        if len(ended) == len(jobs):
            break
        time.sleep(0.5)
    return ended


def _read_all(url: str, jobs: Sequence[ClientJob]) -> Jobs:
    """The jobs as they are now, without those that the service does not know."""
    with httpx2.Client(base_url=url, timeout=10) as client, ThreadPoolExecutor(4) as pool:
        responses = pool.map(lambda job: client.get(f"/jobs/{job.job_id}"), jobs)
        pairs = zip(jobs, responses, strict=True)
        return {job.key: response.json() for job, response in pairs if response.status_code == 200}


def _summary(jobs: Sequence[ClientJob], ended: Jobs, again: Jobs) -> dict[str, Any]:
    """How the jobs ended, from each as seen first after its end and as seen at the end of the run."""
    problems = Counter(_problem(job, ended.get(job.key), again.get(job.key)) for job in jobs)
    wrong_how = {problem: count for problem, count in problems.items() if problem not in (None, "lost")}
    statuses = Counter(job["status"] for job in again.values())
    return {
        "accepted": len(jobs),
        **{status: statuses[status] for status in _ENDED},
        "lost": problems["lost"],
        "wrong": sum(wrong_how.values()),
        "wrong_how": wrong_how,
    }


def _problem(job: ClientJob, ended: dict[str, Any] | None, again: dict[str, Any] | None) -> str | None:
    """What is wrong with a job, or None."""
    if ended is None or again is None:
        return "lost"
    return _problem_with_end(job, ended) or (None if ended == again else "it ended, and then changed")


def _problem_with_end(job: ClientJob, ended: dict[str, Any]) -> str | None:
    status = ended["status"]
    if job.is_cancel_granted and status != "canceled":
        return f"{status} after its cancel was granted"
    if status == "canceled":
        return None if job.is_cancel_sent or _is_past_its_deadline(ended) else "canceled without a reason"
    if status == "failed":
        kind = ended["error"]["type"]
        return None if job.expected is None and kind == "worker_lost" else f"failed as {kind}"
    is_right = job.expected == SegmentationResult.model_validate(ended["result"])
    return None if is_right else "another result than the right one"


def _is_past_its_deadline(job: dict[str, Any]) -> bool:
    deadline, completed = job["deadline_at"], job["completed_at"]
    return deadline is not None and datetime.fromisoformat(completed) >= datetime.fromisoformat(deadline)


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
