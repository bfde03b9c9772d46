"""A worker's metrics for Prometheus: how long the stages of jobs take, and how full the engine is. See
docs/operations.md."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from shared.domain.job import Job
from shared.settings import WorkerSettings
from worker.job_end import EndKind, JobEnd, StageTimes

_STAGE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

EngineStats = Callable[[], Mapping[str, float]]
"""Returns the engine's statistics by name. Names that end in `_total` are counters. Called by the server's thread."""

logger = logging.getLogger(__name__)


class WorkerMetrics:
    """All metrics of a worker. Thread-safe. One per process."""

    def __init__(
        self, settings: WorkerSettings, model_id: str, in_flight: Callable[[], int], engine: EngineStats
    ) -> None:
        """`in_flight` returns the number of jobs in flight."""
        self._settings = settings
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        self.registry.register(_EngineCollector(model_id, engine))
        self._devices = _DeviceCollector()
        self.registry.register(self._devices)
        self._stages = Histogram(
            "maskq_job_stage_duration_seconds",
            "Duration of the stages of jobs that succeeded: `queue` from acceptance to the claim, `preprocess`, "
            "`model` with the wait for a slot, `render`, and `total` from acceptance to the result.",
            ["model", "stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=self.registry,
        )
        batch = "Largest number of jobs in one forward pass with a job, including it."
        self._batch = Histogram("maskq_batch_size", batch, ["model"], buckets=_BATCH_BUCKETS, registry=self.registry)
        done = (
            "Jobs that ended here: succeeded, failed, dropped (canceled or lease lost), refused (lease expired), "
            "crashed (the process that ran it has ended)."
        )
        self._jobs = Counter("maskq_worker_jobs", done, ["model", "outcome"], registry=self.registry)
        for outcome in EndKind:
            self._jobs.labels(model_id, outcome)  # starts at 0, so that the first job counts as an increase
        objects = Counter("maskq_objects", "Objects in the results of this worker.", ["model"], registry=self.registry)
        self._objects = objects.labels(model_id)
        in_flight_now = Gauge("maskq_worker_jobs_in_flight", "Jobs in flight.", ["model"], registry=self.registry)
        in_flight_now.labels(model_id).set_function(in_flight)
        limit = Gauge("maskq_worker_threads", "Largest number of jobs in flight.", ["model"], registry=self.registry)
        limit.labels(model_id).set(settings.worker_threads)
        self._model_id = model_id

    def describe(self, facts: Mapping[str, str]) -> None:
        """Show what this worker runs on: `device`, the number of its GPU on the machine or a kind such as `cpu`, and
        more facts."""
        about = "What this worker runs on. Always 1."
        info = Gauge("maskq_worker_info", about, ["model", *facts], registry=self.registry)
        info.labels(self._model_id, *facts.values()).set(1)
        self._devices.number = facts["device"] if facts["device"].isdigit() else ""

    def serve(self) -> None:
        """Serve on `MASKQ_METRICS_PORT`, if it is set. If the port is taken, log a warning and go on."""
        if not self._settings.metrics_port:
            return
        try:
            start_http_server(self._settings.metrics_port, self._settings.metrics_host, self.registry)
        except OSError as error:
            logger.warning("no /metrics on port %d: %s", self._settings.metrics_port, error.strerror)

    def job_ended(self, job: Job, end: JobEnd) -> None:
        """Count a job, and record where its time went."""
        self._jobs.labels(self._model_id, end.kind).inc()
        if end.times:
            self._record(job, end.times)

    def _record(self, job: Job, times: StageTimes) -> None:
        queue_s = ((job.started_at_ms or job.created_at_ms) - job.created_at_ms) / 1000
        stages = {
            "queue": queue_s,
            "preprocess": times.preprocess_s,
            "model": times.model_s,
            "render": times.render_s,
            "total": queue_s + times.pipeline_s,
        }
        for stage, seconds in stages.items():
            self._stages.labels(self._model_id, stage).observe(seconds)
        self._batch.labels(self._model_id).observe(times.batch_size)
        self._objects.inc(times.objects)


class _EngineCollector(Collector):
    """The engine's statistics, as `maskq_engine_NAME`."""

    def __init__(self, model_id: str, stats: EngineStats) -> None:
        self._model_id = model_id
        self._stats = stats

    def collect(self) -> Iterator[Metric]:
        for name, value in self._stats().items():
            metric: Any = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            words = name.removesuffix("_total").replace("_", " ")
            family = metric(f"maskq_engine_{name}", f"Engine: {words}.", labels=["model"])
            family.add_metric([self._model_id], value)
            yield family


class _DeviceCollector(Collector):
    """Memory of the GPUs that this process sees. Empty without one, or if torch is not imported."""

    def __init__(self) -> None:
        self.number = ""
        """Of the GPU on its machine, if the process sees only that one."""

    def collect(self) -> Iterator[Metric]:
        if "torch" not in sys.modules:
            return
        from worker.devices.accelerators import memory_of_devices

        memory = GaugeMetricFamily("maskq_device_memory_bytes", "Memory of each GPU.", labels=["device", "kind"])
        for device, kinds in memory_of_devices():
            for kind, value in kinds.items():
                memory.add_metric([self.number or str(device), kind], value)
        if memory.samples:
            yield memory
