"""The ledger's figures in Prometheus' words. Every front end tells the same, so queries take `max`, never `sum`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from shared.domain.job import JobStatus
from shared.domain.webhook import DeliveryState
from shared.store.stats import LedgerStats

_ENDS = [status for status in JobStatus if status.is_terminal]
_COUNTERS = {
    "accepted": ("maskq_jobs_accepted", "Jobs that were accepted."),
    "cached": ("maskq_result_cache_hits", "Of those, answered by the result cache."),
    "reaped": ("maskq_leases_reaped", "Leases that ran out because a worker died, froze or was cut off."),
}
_GAUGES = {
    "running": ("maskq_jobs_processing", "Jobs in the hands of workers."),
    "quarantined": ("maskq_queue_quarantined", "Of the jobs that wait, those that lost a worker and run alone."),
    "workers": ("maskq_workers", "Workers that were heard of lately."),
}

StatsByModel = Mapping[str, LedgerStats]


def ledger_text(figures: StatsByModel | None) -> bytes:
    """In the text format. `figures` is None while the store is away."""
    up = GaugeMetricFamily("maskq_store_up", "1 if Redis answers, else 0.", value=float(figures is not None))
    families = [up, *(_families(figures) if figures else ())]
    registry = CollectorRegistry()
    registry.register(_Once(families))
    return generate_latest(registry)


class _Once:
    """Metrics that were made for one answer."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def _families(figures: StatsByModel) -> Iterator[Metric]:
    yield from _queue(figures)
    ended = CounterMetricFamily("maskq_jobs_ended", "Jobs that came to an end, by state.", labels=["model", "status"])
    for model, each in figures.items():
        for status in _ENDS:
            ended.add_metric([model, status], each.job_counts.get(status, 0))
    yield ended
    for field, (name, about) in _GAUGES.items():
        gauge = GaugeMetricFamily(name, about, labels=["model"])
        for model, each in figures.items():
            gauge.add_metric([model], getattr(each, field))
        yield gauge
    for counted, (name, about) in _COUNTERS.items():
        counter = CounterMetricFamily(name, about, labels=["model"])
        for model, each in figures.items():
            counter.add_metric([model], each.job_counts.get(counted, 0))
        yield counter
    server = next(iter(figures.values()))
    tries = CounterMetricFamily("maskq_webhook_tries", "Tries of webhooks, by what they led to.", labels=["state"])
    for state in DeliveryState:
        tries.add_metric([state], server.delivery_counts.get(state, 0))
    yield tries
    overdue = "For how long the webhook that is due first has been due and in nobody's hands."
    yield GaugeMetricFamily("maskq_webhook_overdue_seconds", overdue, value=server.delivery_overdue_s)
    used, most = "Memory of the server.", "Most it may take; 0 if there is no limit."
    yield GaugeMetricFamily("maskq_store_memory_used_bytes", used, value=server.memory_used_bytes)
    yield GaugeMetricFamily("maskq_store_memory_max_bytes", most, value=server.memory_max_bytes)


def _queue(figures: StatsByModel) -> tuple[Metric, Metric]:
    labels = ["model", "priority"]
    jobs = GaugeMetricFamily("maskq_queue_jobs", "Jobs that wait for a worker.", labels=labels)
    age = GaugeMetricFamily("maskq_queue_oldest_age_seconds", "How long the oldest of them has waited.", labels=labels)
    for model, each in figures.items():
        for priority, waiting in each.waiting.items():
            jobs.add_metric([model, priority], waiting)
            age.add_metric([model, priority], each.oldest_age_s[priority])
    return jobs, age
