"""GET /metrics: figures in Prometheus' words, of this process and of the ledger. docs/operations.md explains them."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.services import ServicesDep
from shared.errors import ConfigurationError
from shared.job import JobStatus
from shared.settings import Settings
from shared.store.figures import LedgerFigures

router = APIRouter()

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_DURATION_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_ENDS = [status for status in JobStatus if status.is_terminal]


class Networks:
    """Whose clients may read the figures."""

    def __init__(self, written: str) -> None:
        """`written` is as in `METRICS_ALLOW`.

        Raises:
            ConfigurationError: it is not a list of networks.
        """
        try:
            self._networks = [ipaddress.ip_network(word.strip()) for word in written.split(",") if word.strip()]
        except ValueError as error:
            raise ConfigurationError(f"METRICS_ALLOW: {error}") from None

    def __contains__(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._networks)


@dataclass
class HttpMetrics:
    """Of one application: how its requests went, and who may ask."""

    allowed: Networks
    registry: CollectorRegistry = field(default_factory=lambda: CollectorRegistry(auto_describe=True))

    def __post_init__(self) -> None:
        ProcessCollector(registry=self.registry)
        self.duration = Histogram(
            "maskq_http_request_duration_seconds",
            "From the first byte of a request to the last of its answer, the wait for a job included.",
            ["method", "route", "status"],
            buckets=_DURATION_BUCKETS_S,
            registry=self.registry,
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> HttpMetrics:
        """Raises: ConfigurationError, as `Networks`."""
        return cls(Networks(settings.metrics_allow))


class MeasuredRequests:
    """ASGI middleware: times every request by the template of its route, so that ids do not become labels."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        begin = time.perf_counter()

        async def send_noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.duration.labels(method, route, status).observe(time.perf_counter() - begin)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, services: ServicesDep) -> Response:
    """For Prometheus. Others than those in `METRICS_ALLOW` find nothing here. While Redis is away the rest is shown."""
    own: HttpMetrics = request.app.state.metrics
    if request.client is None or request.client.host not in own.allowed:
        raise HTTPException(404)
    model = services.model.name
    try:
        ledger = list(_ledger_metrics(model, await services.store.figures(model)))
    except RedisError:
        ledger = []
    up = GaugeMetricFamily("maskq_store_up", "1 if Redis answers, else 0.", value=float(bool(ledger)))
    return Response(_text([up, *ledger]) + generate_latest(own.registry), media_type=CONTENT_TYPE_LATEST)


def _ledger_metrics(model: str, figures: LedgerFigures) -> Iterator[Metric]:
    """Every front end tells the same of these: take the largest, not the sum, where there are several."""
    waiting = GaugeMetricFamily("maskq_queue_jobs", "Jobs that wait for a worker.", labels=["model", "priority"])
    oldest = GaugeMetricFamily(
        "maskq_queue_oldest_age_seconds", "How long the oldest of them has waited.", labels=["model", "priority"]
    )
    for priority, jobs in figures.waiting.items():
        waiting.add_metric([model, priority], jobs)
        oldest.add_metric([model, priority], figures.oldest_s[priority])
    ended = CounterMetricFamily("maskq_jobs_ended", "Jobs that came to an end, by state.", labels=["model", "status"])
    for status in _ENDS:
        ended.add_metric([model, status], figures.counts.get(status, 0))
    used, most = "Memory of the server.", "Most it may take; 0 if there is no limit."
    yield from (waiting, oldest, ended)
    yield GaugeMetricFamily("maskq_store_memory_used_bytes", used, value=figures.memory_used_bytes)
    yield GaugeMetricFamily("maskq_store_memory_max_bytes", most, value=figures.memory_max_bytes)
    gauges = {
        "maskq_jobs_processing": ("Jobs in the hands of workers.", figures.running),
        "maskq_queue_suspects": (
            "Of the jobs that wait, those that lost a worker and will run alone.",
            figures.suspects,
        ),
        "maskq_workers": ("Workers that were heard of lately.", figures.workers),
    }
    for name, (text, value) in gauges.items():
        gauge = GaugeMetricFamily(name, text, labels=["model"])
        gauge.add_metric([model], value)
        yield gauge
    counters = {
        "maskq_jobs_accepted": ("Jobs that were accepted.", "accepted"),
        "maskq_result_cache_hits": ("Of those, answered by the result cache.", "cached"),
        "maskq_leases_reaped": ("Leases that ran out because a worker died, froze or was cut off.", "reaped"),
    }
    for name, (text, counted) in counters.items():
        counter = CounterMetricFamily(name, text, labels=["model"])
        counter.add_metric([model], figures.counts.get(counted, 0))
        yield counter


def _text(families: list[Metric]) -> bytes:
    """Metrics that were made for this one answer, in Prometheus' text format."""

    class Once:
        def collect(self) -> list[Metric]:
            return families

    registry = CollectorRegistry()
    registry.register(Once())
    return generate_latest(registry)
