"""The figures of front end and worker are true, named as Prometheus wants it, and shown to those who may see them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from api.routes.metrics import Networks
from local.broker import free_port
from shared.domain.job import Job, JobRequest, MaskFormat, Priority, new_job_id
from shared.domain.result import ImageSize, SegmentationResult
from shared.domain.webhook import Webhook
from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.store.leases import LeaseStore, Outcome
from shared.store.submissions import NewJob, SubmissionStore
from tests.servers import front_end
from worker.metrics import WorkerMetrics
from worker.segmentation import Segmentation

_RESULT = SegmentationResult(
    image=ImageSize(width=1, height=1), objects=[], skipped=[], truncated=False, raw_text="<eos>"
)


@pytest.fixture
def leases(settings: Settings) -> Iterator[LeaseStore]:
    store = LeaseStore.connect(settings)
    yield store
    store.close()


def _submit(settings: Settings, priority: Priority = Priority.NORMAL, webhook: Webhook | None = None) -> str:
    async def submit() -> str:
        store = SubmissionStore.connect(settings)
        request = JobRequest(model_id="demo", prompt="cat", mask_formats=(MaskFormat.RLE,), priority=priority)
        try:
            return (await store.submit(NewJob(new_job_id(), request, b"x", "me", webhook=webhook))).job.id
        finally:
            await store.close()

    return asyncio.run(submit())


def _read(text: str) -> dict[str, float]:
    """Every sample as `name{label="value"}`, created-times left out."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()) if name != "model")
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def _ledger(settings: Settings) -> dict[str, float]:
    """What a front end shows now."""
    with front_end(settings) as url:
        return _read(httpx2.get(f"{url}/metrics").raise_for_status().text)


def test_the_queue_is_shown_by_priority_and_age(settings: Settings, leases: LeaseStore) -> None:
    for priority in (Priority.HIGH, Priority.LOW, Priority.LOW):
        _submit(settings, priority)
    shown = _ledger(settings)
    assert shown["maskq_queue_jobs{priority=high}"] == 1
    assert shown["maskq_queue_jobs{priority=normal}"] == 0
    assert shown["maskq_queue_jobs{priority=low}"] == 2
    assert 0 < shown["maskq_queue_oldest_age_seconds{priority=low}"] < 60
    assert shown["maskq_queue_oldest_age_seconds{priority=normal}"] == 0


def test_a_job_is_counted_wherever_it_goes(settings: Settings, leases: LeaseStore) -> None:
    _submit(settings)
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    shown = _ledger(settings)
    assert (shown["maskq_queue_jobs{priority=normal}"], shown["maskq_jobs_processing"]) == (0, 1)
    leases.release(lease)
    shown = _ledger(settings)
    assert (shown["maskq_queue_jobs{priority=normal}"], shown["maskq_jobs_processing"]) == (1, 0)
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    leases.finish(lease, Outcome(result=_RESULT))
    shown = _ledger(settings)
    assert (shown["maskq_queue_jobs{priority=normal}"], shown["maskq_jobs_processing"]) == (0, 0)
    assert (shown["maskq_jobs_accepted_total"], shown["maskq_jobs_ended_total{status=succeeded}"]) == (1, 1)


def test_reaped_leases_and_suspects_are_counted(settings: Settings) -> None:
    hasty = LeaseStore.connect(settings.replace(lease_s=0.001, restart_grace_s=0.0))
    _submit(settings)
    assert hasty.claim("demo", is_idle=True)
    while not hasty.reap("demo").released:
        pass
    hasty.close()
    shown = _ledger(settings)
    assert (shown["maskq_leases_reaped_total"], shown["maskq_queue_quarantined"]) == (1, 1)
    assert shown["maskq_queue_jobs{priority=normal}"] == 1


def test_webhooks_that_nobody_sends_are_overdue(settings: Settings, leases: LeaseStore) -> None:
    assert _ledger(settings)["maskq_webhook_overdue_seconds"] == 0
    _submit(settings, webhook=Webhook(url="https://example.com/", base_url=""))
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    leases.finish(lease, Outcome(result=_RESULT))
    assert 0 < _ledger(settings)["maskq_webhook_overdue_seconds"] < 60


def test_cached_answers_are_counted(settings: Settings, leases: LeaseStore) -> None:
    caching = settings.replace(result_cache_s=60)
    _submit(caching)
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    leases.finish(lease, Outcome(result=_RESULT))
    _submit(caching)
    shown = _ledger(settings)
    assert (shown["maskq_result_cache_hits_total"], shown["maskq_jobs_accepted_total"]) == (1, 2)


def test_jobs_of_a_version_that_wrote_requests_in_full_can_be_claimed(settings: Settings, leases: LeaseStore) -> None:
    job_id = _submit(settings)
    with Redis.from_url(settings.redis.redis_url, decode_responses=True) as redis:
        request = json.loads(str(redis.hget(f"maskq:job:{job_id}", "request")))
        in_full = {**request, "priority": "normal", "traceparent": ""}
        redis.hset(f"maskq:job:{job_id}", "request", json.dumps(in_full))
    assert leases.claim("demo", is_idle=True)
    assert _ledger(settings)["maskq_queue_jobs{priority=normal}"] == 0


def test_requests_are_timed_by_route_and_not_by_id(settings: Settings) -> None:
    with front_end(settings) as url:
        assert httpx2.get(f"{url}/jobs/{new_job_id()}").status_code == 404
        assert httpx2.get(f"{url}/nowhere/at/all").status_code == 404
        shown = _read(httpx2.get(f"{url}/metrics").text)
    name = "maskq_http_request_duration_seconds_count"
    assert shown[f"{name}{{method=GET,route=/jobs/{{job_id}},status=404}}"] == 1
    assert shown[f"{name}{{method=GET,route=none,status=404}}"] == 1


def test_a_store_that_is_away_is_told_and_the_rest_is_shown(settings: Settings) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    shown = _ledger(settings.replace(redis_url=nowhere))
    assert shown["maskq_store_up"] == 0
    assert shown["process_resident_memory_bytes"] > 0


def test_others_than_those_allowed_find_nothing(settings: Settings) -> None:
    with front_end(settings.replace(metrics_allow="192.0.2.0/24")) as url:
        assert httpx2.get(f"{url}/metrics").status_code == 404


def test_networks_that_are_none_are_refused_at_start() -> None:
    with pytest.raises(ConfigurationError, match="MASKQ_METRICS_ALLOW"):
        Networks(Settings.of(metrics_allow="everybody").http)
    allowed = Networks(Settings.of(metrics_allow="10.0.0.0/8, ::1/128").http)
    assert "10.1.2.3" in allowed
    assert "11.1.2.3" not in allowed
    assert "unix socket" not in allowed


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def worker_metrics(port: int) -> WorkerMetrics:
    return WorkerMetrics(
        Settings.of(metrics_port=port).worker, "demo", lambda: 3, lambda: {"slots_used": 2.0, "tokens_total": 40.0}
    )


def _job() -> Job:
    request = JobRequest(model_id="demo", prompt="cat", mask_formats=(MaskFormat.RLE,))
    return Job(id="1", status="processing", request=request, owner="me", created_at_ms=1_000, started_at_ms=1_500)


def test_a_worker_shows_where_the_time_went(worker_metrics: WorkerMetrics, port: int) -> None:
    done = Segmentation(_RESULT, model_s=0.25, batch_size=4, preprocess_s=0.125, render_s=0.0625)
    worker_metrics.segmented(_job(), done, took_s=0.5)
    worker_metrics.ended("succeeded")
    worker_metrics.serve()
    shown = _read(httpx2.get(f"http://127.0.0.1:{port}/metrics").text)
    for stage, seconds in {"queue": 0.5, "preprocess": 0.125, "model": 0.25, "render": 0.0625, "total": 1.0}.items():
        assert shown[f"maskq_job_stage_duration_seconds_sum{{stage={stage}}}"] == seconds
    assert shown["maskq_batch_size_sum"] == 4
    assert shown["maskq_worker_jobs_total{outcome=succeeded}"] == 1
    assert shown["maskq_worker_jobs_total{outcome=refused}"] == 0
    assert shown["maskq_worker_jobs_in_flight"] == 3
    assert (shown["maskq_engine_slots_used"], shown["maskq_engine_tokens_total"]) == (2, 40)


def test_a_port_that_is_taken_does_not_stop_a_worker(
    worker_metrics: WorkerMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    worker_metrics.serve()
    worker_metrics.serve()
    assert "no /metrics" in caplog.text
