"""Faults of the service's own processes: killed or frozen, and notifications dropped."""

from __future__ import annotations

import random
import threading
from contextlib import suppress

import psutil
from redis.exceptions import RedisError

from benchmarks.chaos.faults import Kinds
from local.supervisor import SupervisedProcess
from shared.process.notifier import queue_name
from testing.fleet import SHORT_LEASES, Fleet
from testing.frozen import children_of, freeze_with_children, resume_with_children

FREEZE_S = float(SHORT_LEASES["MASKQ_LEASE_S"]) + 1.5
"""Longer than a lease, so that another worker has claimed the job when the frozen one resumes."""
FRONT_END_KILLED = "front end killed"


def worker_and_front_end_faults(fleet: Fleet, chance: random.Random, freeze_s: float = FREEZE_S) -> Kinds:
    """What can happen to workers, the front end and notifications."""
    return {
        "worker killed": lambda: chance.choice(fleet.workers).kill(),
        "job process killed": lambda: _kill_job_process(chance.choice(fleet.workers), chance),
        "worker frozen past its lease": lambda: _freeze(chance.choice(fleet.workers), freeze_s),
        "notifications dropped": lambda: _drop_notifications(fleet),
        FRONT_END_KILLED: lambda: fleet.api.kill(chance.uniform(0, 0.5)),
    }


def broker_faults(fleet: Fleet, chance: random.Random) -> Kinds:
    """What can happen to the fleet's own broker."""
    return {"broker killed": lambda: fleet.broker.kill(chance.uniform(0, 1))}


def delivery_faults(fleet: Fleet, receiver: SupervisedProcess, chance: random.Random) -> Kinds:
    """What can happen to processes that webhooks pass through after the job has ended."""
    return {
        "receiver killed": lambda: receiver.kill(chance.uniform(0, 3)),
        "deliverer killed": lambda: chance.choice(fleet.deliverers).kill(),
    }


def resume_workers(fleet: Fleet) -> None:
    """Let all go on that are frozen."""
    for worker in fleet.workers:
        resume_with_children(worker)


def _kill_job_process(worker: SupervisedProcess, chance: random.Random) -> None:
    if processes := children_of(worker):
        with suppress(psutil.NoSuchProcess):
            chance.choice(processes).kill()


def _freeze(worker: SupervisedProcess, seconds: float) -> None:
    timer = threading.Timer(seconds, freeze_with_children(worker))
    timer.daemon = True
    timer.start()


def _drop_notifications(fleet: Fleet) -> None:
    with suppress(RedisError), fleet.redis() as redis:  # the broker is down, and its notifications with it
        redis.delete(queue_name("demo"))
