"""Metrics of the ledger (queue, workers, deliveries, Redis), for Prometheus: read from Redis for each answer.

Every front end returns the same values, so queries take `max`, never `sum`. `api.http.request_metrics` has the metrics
of this process; `api.routes.metrics` serves both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from shared.domain.job import JobStatus
from shared.domain.webhook import DeliveryState
from shared.store.stats import LedgerStats

_TERMINAL = [status for status in JobStatus if status.is_terminal]
_COUNTERS = {
    "accepted": ("maskq_jobs_accepted", "Accepted jobs."),
    "cached": ("maskq_result_cache_hits", "Accepted jobs that the result cache answered."),
    "reaped": ("maskq_leases_reaped", "Jobs taken from workers that died, froze or were disconnected."),
}
_GAUGES = {
    "running": ("maskq_jobs_processing", "Jobs in flight: claimed by a worker."),
    "quarantined": ("maskq_queue_quarantined", "Waiting jobs that lost a worker before and will run alone."),
    "workers": ("maskq_workers", "Workers with a heartbeat within the liveness window."),
}

StatsByModel = Mapping[str, LedgerStats]


def ledger_text(stats: StatsByModel | None) -> bytes:
    """The metrics in the text format. `stats` is None while Redis is away."""
    up = GaugeMetricFamily("maskq_store_up", "1 if Redis answers, else 0.", value=float(stats is not None))
    registry = CollectorRegistry()
    registry.register(_Once([up, *(_families(stats) if stats else ())]))
    return generate_latest(registry)


class _Once:
    """A collector of metrics made for one answer."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def _families(stats: StatsByModel) -> Iterator[Metric]:
    yield from _queue(stats)
    ended = CounterMetricFamily("maskq_jobs_ended", "Ended jobs, by final status.", labels=["model", "status"])
    for model, each in stats.items():
        for status in _TERMINAL:
            ended.add_metric([model, status], each.job_counts.get(status, 0))
    yield ended
    for field, (name, about) in _GAUGES.items():
        gauge = GaugeMetricFamily(name, about, labels=["model"])
        for model, each in stats.items():
            gauge.add_metric([model], getattr(each, field))
        yield gauge
    for counted, (name, about) in _COUNTERS.items():
        counter = CounterMetricFamily(name, about, labels=["model"])
        for model, each in stats.items():
            counter.add_metric([model], each.job_counts.get(counted, 0))
        yield counter
    yield from _server(next(iter(stats.values())))


def _queue(stats: StatsByModel) -> tuple[Metric, Metric]:
    labels = ["model", "priority"]
    jobs = GaugeMetricFamily("maskq_queue_jobs", "Jobs that wait for a worker.", labels=labels)
    age = GaugeMetricFamily("maskq_queue_oldest_age_seconds", "Age of the oldest waiting job.", labels=labels)
    for model, each in stats.items():
        for priority, waiting in each.waiting.items():
            jobs.add_metric([model, priority], waiting)
            age.add_metric([model, priority], each.oldest_age_s[priority])
    return jobs, age


def _server(stats: LedgerStats) -> Iterator[Metric]:
    """The metrics that do not depend on a model."""
    about = "Attempts to deliver webhooks, by the delivery status after the attempt."
    attempts = CounterMetricFamily("maskq_webhook_attempts", about, labels=["state"])
    for state in DeliveryState:
        attempts.add_metric([state], stats.delivery_counts.get(state, 0))
    yield attempts
    overdue = "Age of the oldest unclaimed due delivery."
    yield GaugeMetricFamily("maskq_webhook_overdue_seconds", overdue, value=stats.delivery_overdue_s)
    used, limit = "Memory that Redis uses.", "Memory limit of Redis; 0 if it has none."
    yield GaugeMetricFamily("maskq_store_memory_used_bytes", used, value=stats.memory_used_bytes)
    yield GaugeMetricFamily("maskq_store_memory_max_bytes", limit, value=stats.memory_max_bytes)
