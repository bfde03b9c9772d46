"""The benchmark queues many jobs in one call of the script that submits them."""

from __future__ import annotations

from benchmarks.ledger import fill
from shared.settings import Settings
from shared.store.leases import LeaseStore


def test_jobs_that_the_benchmark_queues_can_be_claimed(settings: Settings) -> None:
    fill(settings.redis.redis_url, 10)
    leases = LeaseStore.connect(settings)
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    assert (lease.job.owner, lease.job.webhook) == ("owner-0", None)
    leases.close()
