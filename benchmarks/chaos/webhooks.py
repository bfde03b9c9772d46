"""Is any webhook ever lost? A receiver and the processes that deliver are killed at random, and some of the rest too.

    python -m benchmarks.chaos.webhooks [--jobs 1000] [--seconds 60] [--save NAME]

A real front end, workers, deliverers and broker; the model is a script. The receiver notes what it is sent, refuses
some of that and drops some. The oracle is the client's own list of what was accepted: each job's end must be announced
at least once, under one `webhook-id`, in the same words each time, with a signature that verifies. Exit status 1 if
not.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.chaos import trial
from benchmarks.chaos.clients import Ask, Clients, scripted_asks
from benchmarks.chaos.faults import Faults
from local.broker import free_port
from shared.domain.job import ANONYMOUS
from shared.domain.webhook import message_id
from shared.settings import Settings
from shared.store import key_names
from shared.store.webhook_secrets import WebhookSecretStore
from testing.fleet import SCRIPTED_WORKER, Fleet
from testing.webhook_receiver import Note, read_notes

_SHORT_SCHEDULE = {
    "MASKQ_URL_ALLOW_HTTP": "true",
    "MASKQ_URL_ALLOW_PRIVATE": "true",
    "MASKQ_WEBHOOK_TIMEOUT_S": "2",
    "MASKQ_WEBHOOK_RETRIES_S": "1," * 100,
}


@dataclass(frozen=True)
class Plan(trial.Plan):
    """How much chaos."""

    jobs: int = 1_000
    seconds: float = 60.0
    fault_every_s: float = 0.5


class WebhookFaults(Faults):
    """Kills whoever has a hand in webhooks."""

    def __init__(self, fleet: Fleet, every_s: float, random: random.Random) -> None:
        super().__init__(fleet, every_s, random)
        (receiver,) = fleet.guests
        self._kinds = {
            "receiver killed": lambda: fleet.kill(receiver, random.uniform(0, 3)),
            "deliverer killed": lambda: fleet.kill(random.choice(fleet.deliverers)),
            "worker killed": lambda: fleet.kill(self._worker()),
            "broker killed": lambda: fleet.kill(fleet.broker, random.uniform(0, 1)),
        }


def run(plan: Plan, folder: Path) -> dict[str, Any]:
    """Bring up the service in `folder`, let chaos loose on it, and see what was announced."""
    chance = random.Random(plan.seed)
    begin = time.monotonic()
    address, notes = f"127.0.0.1:{free_port()}", folder / "notes"
    env = {**_SHORT_SCHEDULE, "SCRIPTED_MS": "20", "MASKQ_MAX_QUEUED_JOBS": "100000"}
    with Fleet(folder, SCRIPTED_WORKER, workers=2, deliverers=2, **env) as fleet:
        secret = asyncio.run(_secret(Settings.of(redis_url=fleet.broker_url)))
        fleet.invite("receiver", [sys.executable, "-m", "testing.webhook_receiver", address, str(notes), secret])
        asks = _asks(plan, chance, f"http://{address}/hook")
        clients = Clients(fleet.url, asks, plan.seconds)
        with WebhookFaults(fleet, plan.fault_every_s, chance) as faults:
            clients.run()
        fleet.wait_until_ready()
        _wait_until_all_are_delivered(fleet, {ask.job_id for ask in asks}, plan.drain_s)
        harm = faults.stats()
    return {
        **judge({ask.job_id for ask in asks}, read_notes(notes)),
        **harm,
        "seconds": time.monotonic() - begin,
    }


async def _secret(settings: Settings) -> str:
    store = WebhookSecretStore.connect(settings)
    newest, *_ = await store.show(ANONYMOUS)
    await store.close()
    return newest


def _asks(plan: Plan, chance: random.Random, url: str) -> list[Ask]:
    """Jobs that all have a webhook; some are canceled, or run out of time."""
    asks = scripted_asks(plan.jobs, 0, chance)
    return [replace(ask, webhook_url=url) for ask in asks]


def _wait_until_all_are_delivered(fleet: Fleet, job_ids: set[str], max_s: float) -> None:
    """Return once no delivery is pending any more, or time is up: then what is missing is missing."""

    def are_delivered() -> bool:
        with fleet.redis() as redis, redis.pipeline(transaction=False) as batch:
            for job_id in job_ids:
                batch.hget(key_names.delivery(job_id), "state")
            return set(batch.execute()) == {b"delivered"}

    try:
        fleet.wait_for(are_delivered, "all deliveries", max_s)
    except TimeoutError as error:
        print(error, file=sys.stderr)


def judge(job_ids: set[str], notes: Sequence[Note]) -> dict[str, Any]:
    """What was announced of what was accepted."""
    by_job: defaultdict[str, list[Note]] = defaultdict(list)
    for note in notes:
        by_job[note.job_id].append(note)
    waits_s = sorted(_wait_s(each[0]) for each in by_job.values())
    return {
        "accepted": len(job_ids),
        "announced": len(job_ids & by_job.keys()),
        "lost": len(job_ids - by_job.keys()),
        "of_unknown_jobs": len(by_job.keys() - job_ids),
        "under_another_id": sum(note.id != message_id(note.job_id) for note in notes),
        "in_other_words": sum(len({note.body for note in each}) > 1 for each in by_job.values()),
        "wrongly_signed": sum(not note.is_signed for note in notes),
        "requests": len(notes),
        "received_more_than_once": sum(len(each) > 1 for each in by_job.values()),
        "end_to_receiver_s_p50": statistics.median(waits_s) if waits_s else None,
        "end_to_receiver_s_p99": waits_s[int(0.99 * len(waits_s))] if waits_s else None,
    }


def _wait_s(note: Note) -> float:
    return note.at - datetime.fromisoformat(json.loads(note.body)["timestamp"]).timestamp()


def is_sound(figures: dict[str, Any]) -> bool:
    """Whether every promise was kept."""
    wrong = ("lost", "of_unknown_jobs", "under_another_id", "in_other_words", "wrongly_signed")
    return not any(figures[name] for name in wrong)


def main() -> int:
    """Run, print the figures as JSON, and return an exit status."""
    return trial.conduct("benchmarks.chaos.webhooks", trial.argument_parser(__doc__, Plan()), Plan, run, is_sound)


if __name__ == "__main__":
    sys.exit(main())
