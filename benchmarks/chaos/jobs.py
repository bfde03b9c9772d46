"""Is anything that was accepted ever lost? The whole service under kills, freezes, lost messages and impatient clients.

    python -m benchmarks.chaos.jobs [--jobs 2000] [--seconds 150] [--workers 3] [--demo] [--save NAME]

A real front end, real Celery workers and a real broker, on short leases. The model is a script, or the demo checkpoint.
The oracle is the clients' own list of what was accepted: each job must end once and with the right mask; canceled only
if its client asked for that or its timeout was over; failed only if it kills workers, and then as `worker_lost`. How
often each ended is counted in the server's own log of writes. Exit status 1 if anything was lost, wrong or double.
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

from benchmarks.chaos import trial
from benchmarks.chaos.audit import audit
from benchmarks.chaos.clients import Ask, Clients, demo_asks, scripted_asks
from benchmarks.chaos.faults import FREEZE_S, Faults
from shared.domain.result import SegmentationResult
from testing.fleet import DEMO_WORKER, SCRIPTED_WORKER, Fleet

Jobs: TypeAlias = dict[str, dict[str, Any]]
"""By the key of their ask."""
_ENDED = ("succeeded", "failed", "canceled")


@dataclass(frozen=True)
class Plan(trial.Plan):
    """How much chaos, and of what kind."""

    jobs: int = 2_000
    seconds: float = 150.0
    fault_every_s: float = 1.5
    workers: int = 3
    demo: bool = False
    poison: int = 3
    """Jobs that kill whatever runs them; the demo gets none."""


def judge(ask: Ask, job: dict[str, Any]) -> str | None:
    """What is wrong with how a job ended, or None."""
    status = job["status"]
    if ask.is_cancel_granted and status != "canceled":
        return f"{status} after its cancel was granted"
    if status == "canceled":
        return None if ask.is_cancel_sent or _is_past_its_deadline(job) else "canceled, and nobody wanted that"
    if status == "failed":
        kind = job["error"]["type"]
        return None if ask.expected is None and kind == "worker_lost" else f"failed as {kind}"
    is_right = ask.expected == SegmentationResult.model_validate(job["result"])
    return None if is_right else "another result than the right one"


def _is_past_its_deadline(job: dict[str, Any]) -> bool:
    deadline, completed = job["deadline_at"], job["completed_at"]
    return deadline is not None and datetime.fromisoformat(completed) >= datetime.fromisoformat(deadline)


def run(plan: Plan, folder: Path) -> dict[str, Any]:
    """Bring up the service in `folder`, let chaos loose on it, and count what became of every accepted job."""
    chance = random.Random(plan.seed)
    begin = time.monotonic()
    worker = DEMO_WORKER if plan.demo else SCRIPTED_WORKER
    # One job a pass: with others beside it, rounding may change the demo's answer, and right would be hard to tell.
    env = {"MASKQ_MAX_BATCH": "1"} if plan.demo else {"MASKQ_MAX_BATCH": "4", "SCRIPTED_MS": "150"}
    with Fleet(
        folder,
        worker,
        plan.workers,
        deliverers=0,
        MASKQ_MAX_BATCH="4",
        MASKQ_WORKER_THREADS="4",
        MASKQ_MAX_QUEUED_JOBS="100000",
        **env,
    ) as fleet:
        asks = demo_asks(plan.jobs, chance, fleet.url) if plan.demo else scripted_asks(plan.jobs, plan.poison, chance)
        clients = Clients(fleet.url, asks, plan.seconds)
        with Faults(fleet, plan.fault_every_s, chance) as faults:
            clients.run()
        fleet.wait_until_ready()
        ended = _wait_for_ends(fleet, asks, plan.drain_s)
        time.sleep(FREEZE_S)  # whoever is late comes now
        again = _read_all(fleet.url, asks)
        refused = fleet.worker_logs().count("refused, it is not ours")
        harm = faults.stats()
    written = audit(folder / "broker")
    return {
        **_judge_all(asks, ended, again),
        "double_commits": written.double_commits,
        "stale_commits_refused": refused,
        "submits_repeated": sum(ask.submits - 1 for ask in asks),
        "duplicates": written.duplicates + sum(len(ask.ids) - 1 for ask in asks),
        "jobs_in_the_log_of_writes": len(written.accepted),
        **harm,
        "refusals": dict(clients.refusals),
        "seconds": time.monotonic() - begin,
    }


def _wait_for_ends(fleet: Fleet, asks: Sequence[Ask], max_s: float) -> Jobs:
    """How each job that ended did so, as first seen."""
    deadline = time.monotonic() + max_s
    ended: Jobs = {}
    while time.monotonic() < deadline:
        fresh = _read_all(fleet.url, [ask for ask in asks if ask.key not in ended])
        ended |= {key: job for key, job in fresh.items() if job["status"] in _ENDED}
        if len(ended) == len(asks):
            break
        time.sleep(0.5)
    return ended


def _read_all(url: str, asks: Sequence[Ask]) -> Jobs:
    """The jobs as they are now; those that the service does not know are missing."""
    with httpx2.Client(base_url=url, timeout=10) as client, ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda ask: client.get(f"/jobs/{ask.job_id}"), asks)
        pairs = zip(asks, answers, strict=True)
        return {ask.key: answer.json() for ask, answer in pairs if answer.status_code == 200}


def _judge_all(asks: Sequence[Ask], ended: Jobs, again: Jobs) -> dict[str, Any]:
    """What became of all jobs, from how each ended as first seen and as seen at last."""
    verdicts = Counter(_verdict(ask, ended.get(ask.key), again.get(ask.key)) for ask in asks)
    wrong_how = {verdict: count for verdict, count in verdicts.items() if verdict not in (None, "lost")}
    statuses = Counter(job["status"] for job in again.values())
    return {
        "accepted": len(asks),
        **{status: statuses[status] for status in _ENDED},
        "lost": verdicts["lost"],
        "wrong": sum(wrong_how.values()),
        "wrong_how": wrong_how,
    }


def _verdict(ask: Ask, job: dict[str, Any] | None, again: dict[str, Any] | None) -> str | None:
    if job is None or again is None:
        return "lost"
    return judge(ask, job) or (None if job == again else "it ended, and then changed")


def is_sound(figures: dict[str, Any]) -> bool:
    """Whether every promise was kept."""
    return not any(figures[name] for name in ("lost", "wrong", "double_commits", "duplicates"))


def main() -> int:
    """Run, print the figures as JSON, and return an exit status."""
    parser = trial.argument_parser(__doc__, Plan())
    parser.add_argument("--workers", type=int, default=Plan.workers)
    parser.add_argument("--demo", action="store_true", help="with the demo checkpoint instead of a script")
    return trial.conduct("benchmarks.chaos.jobs", parser, Plan, run, is_sound)


if __name__ == "__main__":
    sys.exit(main())
