"""Counts webhooks that are lost or wrong while receiver, deliverers, workers and broker are killed at random.

    python -m benchmarks.chaos.webhooks [--jobs 1000] [--seconds 60] [--save NAME]

Front end, workers, deliverers and broker are real; the model is a script. The receiver records what it receives, and
refuses or does not answer some of it. The client's own list of accepted jobs says what is right: the end of each job
must be delivered at least once, under one `webhook-id`, with the same body each time and a signature that verifies.
Exit status 1 if not.
"""

from __future__ import annotations

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

from benchmarks.chaos import run
from benchmarks.chaos.clients import ChaosClients, ClientJob, scripted_jobs
from benchmarks.chaos.faults import Faults, count
from benchmarks.chaos.process_faults import broker_faults, delivery_faults
from local.broker import free_port
from local.supervisor import SupervisedProcess
from shared.domain.job import ANONYMOUS
from shared.domain.webhook import message_id
from shared.settings import Settings
from shared.store import key_names
from testing.fleet import SCRIPTED_WORKER, Fleet
from testing.receiver_process import ReceivedWebhook, read_received
from testing.signing_secrets import webhook_secrets

SHORT_SCHEDULE = {
    "MASKQ_URL_ALLOW_HTTP": "true",
    "MASKQ_URL_ALLOW_PRIVATE": "true",
    "MASKQ_WEBHOOK_TIMEOUT_S": "2",
    "MASKQ_WEBHOOK_RETRIES_S": "1," * 100,
}
"""Settings under which a receiver may be on this machine, and a failed delivery is sent again after a second."""


@dataclass(frozen=True)
class Plan(run.Plan):
    """How many jobs and faults a run has."""

    jobs: int = 1_000
    seconds: float = 60.0
    fault_every_s: float = 0.5


def run_chaos(plan: Plan, folder: Path) -> dict[str, Any]:
    """Run the service in `folder` under faults. Returns what was delivered of all accepted jobs, and the faults."""
    chance = random.Random(plan.seed)
    begin = time.monotonic()
    address, records = f"127.0.0.1:{free_port()}", folder / "received"
    env = {**SHORT_SCHEDULE, "SCRIPTED_MS": "20", "MASKQ_MAX_QUEUED_JOBS": "100000"}
    with Fleet(folder, SCRIPTED_WORKER, workers=2, deliverers=2, **env) as fleet:
        receiver = start_receiver(fleet, address, records)
        jobs = _jobs(plan, chance, f"http://{address}/hook")
        clients = ChaosClients(fleet.url, jobs, plan.seconds)
        kinds = {
            "worker killed": lambda: chance.choice(fleet.workers).kill(),
            **delivery_faults(fleet, receiver, chance),
            **broker_faults(fleet, chance),
        }
        with Faults(kinds, plan.fault_every_s, chance) as faults:
            clients.run()
        fleet.wait_until_ready()
        wait_until_all_are_delivered(fleet, {job.job_id for job in jobs}, plan.drain_s)
        exits = fleet.exit_counts()
    return {
        **check_deliveries({job.job_id for job in jobs}, read_received(records)),
        **count(faults),
        "processes_started_again": exits,
        "seconds": time.monotonic() - begin,
    }


def start_receiver(fleet: Fleet, address: str, records: Path) -> SupervisedProcess:
    """Keep a receiver of the fleet's webhooks running, which records in a file what it receives."""
    secret, *_ = webhook_secrets(Settings.of(redis_url=fleet.broker_url), ANONYMOUS)
    command = [sys.executable, "-m", "testing.receiver_process", address, str(records), secret]
    return fleet.start("receiver", command)


def _jobs(plan: Plan, chance: random.Random, url: str) -> list[ClientJob]:
    """Jobs that all have a webhook; some are canceled, and some pass their deadline."""
    return [replace(job, webhook_url=url) for job in scripted_jobs(plan.jobs, 0, chance)]


def wait_until_all_are_delivered(fleet: Fleet, job_ids: set[str], max_s: float) -> None:
    """Return once no delivery is pending any more, or time is up: what is missing then counts as lost."""

    def are_delivered() -> bool:
        with fleet.redis() as redis, redis.pipeline(transaction=False) as batch:
            for job_id in job_ids:
                batch.hget(key_names.delivery(job_id), "state")
            return set(batch.execute()) == {b"delivered"}

    try:
        fleet.wait_for(are_delivered, "all deliveries", max_s)
    except TimeoutError as error:
        print(error, file=sys.stderr)


def check_deliveries(job_ids: set[str], received: Sequence[ReceivedWebhook]) -> dict[str, Any]:
    """Compare what was received with the jobs that were accepted."""
    by_job: defaultdict[str, list[ReceivedWebhook]] = defaultdict(list)
    for webhook in received:
        by_job[webhook.job_id].append(webhook)
    waits_s = sorted(_wait_s(each[0]) for each in by_job.values())
    return {
        "accepted": len(job_ids),
        "announced": len(job_ids & by_job.keys()),
        "lost": len(job_ids - by_job.keys()),
        "of_unknown_jobs": len(by_job.keys() - job_ids),
        "under_another_id": sum(webhook.id != message_id(webhook.job_id) for webhook in received),
        "with_another_body": sum(len({webhook.body for webhook in each}) > 1 for each in by_job.values()),
        "wrongly_signed": sum(not webhook.is_signed for webhook in received),
        "requests": len(received),
        "received_more_than_once": sum(len(each) > 1 for each in by_job.values()),
        "end_to_receiver_s_p50": statistics.median(waits_s) if waits_s else None,
        "end_to_receiver_s_p99": waits_s[int(0.99 * len(waits_s))] if waits_s else None,
    }


def _wait_s(webhook: ReceivedWebhook) -> float:
    """Seconds from the end of the job until the receiver had the request."""
    return webhook.at - datetime.fromisoformat(json.loads(webhook.body)["timestamp"]).timestamp()


def wrong_deliveries(checked: dict[str, Any]) -> int:
    """How many deliveries did not arrive, or not as they should, of what `check_deliveries` returned."""
    wrong = ("lost", "of_unknown_jobs", "under_another_id", "wrongly_signed")
    return sum(checked[name] for name in wrong)


def has_passed(results: dict[str, Any]) -> bool:
    """Whether every delivery arrived and none is wrong."""
    return not wrong_deliveries(results) and not results["with_another_body"]


def main() -> int:
    """Run, print the results as JSON, and return an exit status."""
    parser = run.argument_parser(__doc__, Plan())
    return run.run_and_report("benchmarks.chaos.webhooks", parser, Plan, run_chaos, has_passed)


if __name__ == "__main__":
    sys.exit(main())
