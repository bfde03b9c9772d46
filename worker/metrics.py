"""What a worker shows Prometheus: where the time of jobs goes, and how full the engine is. See docs/operations.md."""

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
from worker.segmentation import Segmentation

_STAGE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_OUTCOMES = ("succeeded", "failed", "dropped", "refused")

EngineStats = Callable[[], Mapping[str, float]]
"""Figures of the engine by name; those that end in `_total` only grow. Called by the thread that serves them."""

logger = logging.getLogger(__name__)


class WorkerMetrics:
    """Thread-safe. One a process."""

    def __init__(
        self, settings: WorkerSettings, model_id: str, in_flight: Callable[[], int], engine: EngineStats
    ) -> None:
        """`in_flight` says how many jobs the worker has."""
        self._settings = settings
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        self.registry.register(_EngineCollector(model_id, engine))
        self.registry.register(_DeviceCollector())
        self._stages = Histogram(
            "maskq_job_stage_duration_seconds",
            "Of jobs that succeeded here: `queue` from acceptance to the worker, `preprocess`, `model` with the wait "
            "for a place in a batch, `render`; `total` is all from acceptance to the result.",
            ["model", "stage"],
            buckets=_STAGE_BUCKETS_S,
            registry=self.registry,
        )
        batch = "Jobs that shared the forward passes with one, itself included."
        self._batch = Histogram("maskq_batch_size", batch, ["model"], buckets=_BATCH_BUCKETS, registry=self.registry)
        done = (
            "Jobs this worker let go of: succeeded, failed, dropped (canceled or lost), refused (its lease was over)."
        )
        self._jobs = Counter("maskq_worker_jobs", done, ["model", "outcome"], registry=self.registry)
        for outcome in _OUTCOMES:
            self._jobs.labels(model_id, outcome)  # 0 is shown from the start, so that the first one is seen as a rise
        objects = Counter("maskq_objects", "Masks this worker made.", ["model"], registry=self.registry)
        self._objects = objects.labels(model_id)
        held = Gauge("maskq_worker_jobs_in_flight", "Jobs this worker has now.", ["model"], registry=self.registry)
        held.labels(model_id).set_function(in_flight)
        most = Gauge("maskq_worker_threads", "Jobs it can have at once.", ["model"], registry=self.registry)
        most.labels(model_id).set(settings.worker_threads)
        self._model_id = model_id

    def serve(self) -> None:
        """Answer on `MASKQ_METRICS_PORT`, if there is one. A port that is taken is no reason not to work."""
        if not self._settings.metrics_port:
            return
        try:
            start_http_server(self._settings.metrics_port, self._settings.metrics_host, self.registry)
        except OSError as error:
            logger.warning("no /metrics on port %d: %s", self._settings.metrics_port, error.strerror)

    def segmented(self, job: Job, done: Segmentation, took_s: float) -> None:
        """The pipeline has a result for a job after `took_s` seconds."""
        queue_s = ((job.started_at_ms or job.created_at_ms) - job.created_at_ms) / 1000
        stages = {
            "queue": queue_s,
            "preprocess": done.preprocess_s,
            "model": done.model_s,
            "render": done.render_s,
            "total": queue_s + took_s,
        }
        for stage, seconds in stages.items():
            self._stages.labels(self._model_id, stage).observe(seconds)
        self._batch.labels(self._model_id).observe(done.batch_size)
        self._objects.inc(len(done.result.objects))

    def ended(self, outcome: str) -> None:
        """The worker let go of a job."""
        self._jobs.labels(self._model_id, outcome).inc()


class _EngineCollector(Collector):
    """The engine's own figures, as `maskq_engine_NAME`."""

    def __init__(self, model_id: str, figures: EngineStats) -> None:
        self._model_id = model_id
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        for name, value in self._figures().items():
            metric: Any = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            words = name.removesuffix("_total").replace("_", " ")
            family = metric(f"maskq_engine_{name}", f"Of the engine: {words}.", labels=["model"])
            family.add_metric([self._model_id], value)
            yield family


class _DeviceCollector(Collector):
    """Memory of the devices PyTorch uses. Nothing without CUDA, or where torch was never imported."""

    def collect(self) -> Iterator[Metric]:
        torch = sys.modules.get("torch")
        if torch is None or not torch.cuda.is_available():
            return
        memory = GaugeMetricFamily("maskq_device_memory_bytes", "Of each GPU.", labels=["device", "kind"])
        for device in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(device)
            kinds = {
                "total": total,
                "free": free,
                "allocated": torch.cuda.memory_allocated(device),
                "reserved": torch.cuda.memory_reserved(device),
            }
            for kind, value in kinds.items():
                memory.add_metric([str(device), kind], value)
        yield memory
