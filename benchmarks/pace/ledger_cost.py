"""What a claim and a finish cost the worker and the broker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping

from benchmarks.pace.cpu_time import broker_cpu_s
from shared.domain.result import SegmentationResult
from shared.settings import Settings
from shared.store.fence_token import new_nonce
from shared.store.leases import Lease, LeaseStore, Outcome
from shared.store.submissions import SubmissionStore
from testing.factories import job_request, new_job

_MODEL = "demo"
_CLAIMED_AT_ONCE = 4
_SUBMITTED_AT_ONCE = 20


def ledger_us(url: str, image: bytes, jobs: int, result: SegmentationResult) -> Mapping[str, float]:
    """Microseconds of CPU time for each of so many jobs with this image and result."""
    settings = Settings.of(redis_url=url, retention_s=60, image_retention_s=5, max_queued_jobs=10_000)
    asyncio.run(_submit(settings, image, jobs))
    store, leases = LeaseStore.connect(settings, "bench"), list[Lease]()
    outcome = Outcome(result=result, model_s=0.1, batch_size=8)
    try:
        return {
            **_both_us("claim", jobs, lambda: leases.extend(_claimed(store))),
            **_both_us("finish", jobs, lambda: [store.finish(each, outcome) for each in leases]),
        }
    finally:
        store.close()


def _both_us(name: str, jobs: int, work: Callable[[], object]) -> Mapping[str, float]:
    before_s, broker_before_s = time.process_time(), broker_cpu_s()
    work()
    here_s, broker_s = time.process_time() - before_s, broker_cpu_s() - broker_before_s
    return {name: here_s * 1e6 / jobs, f"{name}, broker": broker_s * 1e6 / jobs}


def _claimed(store: LeaseStore) -> Iterator[Lease]:
    while leases := store.claim_several(_MODEL, new_nonce(), max_jobs=_CLAIMED_AT_ONCE, is_idle=True).leases:
        yield from leases


async def _submit(settings: Settings, image: bytes, jobs: int) -> None:
    store = SubmissionStore.connect(settings)
    try:
        for first in range(0, jobs, _SUBMITTED_AT_ONCE):
            some = range(first, min(jobs, first + _SUBMITTED_AT_ONCE))
            await asyncio.gather(*(store.submit(new_job(request=job_request(), image=image)) for _ in some))
    finally:
        await store.close()
