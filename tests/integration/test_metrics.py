"""The metrics of front end and worker: correct values, names as Prometheus requires, and access to them."""

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
from shared.domain.job import Job, Priority, new_job_id
from shared.domain.webhook import Webhook
from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.store.leases import LeaseStore
from shared.store.submissions import SubmissionStore
from testing.factories import job_request, new_job, stored_job, success
from testing.servers import front_end
from worker.job_end import EndKind, JobEnd, StageTimes
from worker.metrics import WorkerMetrics


@pytest.fixture
def leases(settings: Settings) -> Iterator[LeaseStore]:
    store = LeaseStore.connect(settings)
    yield store
    store.close()


def _submit(settings: Settings, priority: Priority = Priority.NORMAL, webhook: Webhook | None = None) -> str:
    async def submit() -> str:
        store = SubmissionStore.connect(settings)
        try:
            return (await store.submit(new_job(request=job_request(priority=priority), webhook=webhook))).job.id
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
    """The metrics of a new front end."""
    with front_end(settings) as url:
        return _read(httpx2.get(f"{url}/metrics").raise_for_status().text)


def test_waiting_jobs_are_counted_by_priority_with_the_oldest_age(settings: Settings, leases: LeaseStore) -> None:
    for priority in (Priority.HIGH, Priority.LOW, Priority.LOW):
        _submit(settings, priority)
    shown = _ledger(settings)
    assert shown["maskq_queue_jobs{priority=high}"] == 1
    assert shown["maskq_queue_jobs{priority=normal}"] == 0
    assert shown["maskq_queue_jobs{priority=low}"] == 2
    assert 0 < shown["maskq_queue_oldest_age_seconds{priority=low}"] < 60
    assert shown["maskq_queue_oldest_age_seconds{priority=normal}"] == 0


def test_a_job_is_counted_in_every_state(settings: Settings, leases: LeaseStore) -> None:
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
    leases.finish(lease, success())
    shown = _ledger(settings)
    assert (shown["maskq_queue_jobs{priority=normal}"], shown["maskq_jobs_processing"]) == (0, 0)
    assert (shown["maskq_jobs_accepted_total"], shown["maskq_jobs_ended_total{status=succeeded}"]) == (1, 1)


def test_reaped_leases_and_quarantined_jobs_are_counted(settings: Settings) -> None:
    hasty = LeaseStore.connect(
        settings.replace(heartbeat_s=0.0002, give_up_s=0.0005, lease_s=0.001, restart_grace_s=0.0)
    )
    _submit(settings)
    assert hasty.claim("demo", is_idle=True)
    while not hasty.reap("demo").released:
        pass
    hasty.close()
    shown = _ledger(settings)
    assert (shown["maskq_leases_reaped_total"], shown["maskq_queue_quarantined"]) == (1, 1)
    assert shown["maskq_queue_jobs{priority=normal}"] == 1


def test_undelivered_webhooks_are_overdue(settings: Settings, leases: LeaseStore) -> None:
    assert _ledger(settings)["maskq_webhook_overdue_seconds"] == 0
    _submit(settings, webhook=Webhook(url="https://example.com/", base_url=""))
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    leases.finish(lease, success())
    assert 0 < _ledger(settings)["maskq_webhook_overdue_seconds"] < 60


def test_results_from_the_cache_are_counted(settings: Settings, leases: LeaseStore) -> None:
    caching = settings.replace(result_cache_s=60)
    _submit(caching)
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    leases.finish(lease, success())
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


def test_without_redis_the_store_is_down_and_process_metrics_remain(settings: Settings) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    shown = _ledger(settings.replace(redis_url=nowhere))
    assert shown["maskq_store_up"] == 0
    assert shown["process_resident_memory_bytes"] > 0


def test_metrics_are_not_found_from_other_networks(settings: Settings) -> None:
    with front_end(settings.replace(metrics_allow="192.0.2.0/24")) as url:
        assert httpx2.get(f"{url}/metrics").status_code == 404


def test_invalid_networks_are_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="MASKQ_METRICS_ALLOW"):
        Networks("everybody")
    allowed = Networks("10.0.0.0/8, ::1/128")
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
    return stored_job(created_at_ms=1_000, started_at_ms=1_500)


def test_a_worker_shows_where_the_time_went(worker_metrics: WorkerMetrics, port: int) -> None:
    times = StageTimes(preprocess_s=0.125, model_s=0.25, render_s=0.0625, pipeline_s=0.5, batch_size=4, objects=1)
    worker_metrics.job_ended(_job(), JobEnd(EndKind.SUCCEEDED, times))
    worker_metrics.serve()
    shown = _read(httpx2.get(f"http://127.0.0.1:{port}/metrics").text)
    for stage, seconds in {"queue": 0.5, "preprocess": 0.125, "model": 0.25, "render": 0.0625, "total": 1.0}.items():
        assert shown[f"maskq_job_stage_duration_seconds_sum{{stage={stage}}}"] == seconds
    assert shown["maskq_batch_size_sum"] == 4
    assert shown["maskq_worker_jobs_total{outcome=succeeded}"] == 1
    assert shown["maskq_worker_jobs_total{outcome=refused}"] == 0
    assert shown["maskq_worker_jobs_in_flight"] == 3
    assert (shown["maskq_engine_slots_used"], shown["maskq_engine_tokens_total"]) == (2, 40)


def test_a_worker_runs_although_its_metrics_port_is_taken(
    worker_metrics: WorkerMetrics, caplog: pytest.LogCaptureFixture
) -> None:
    worker_metrics.serve()
    worker_metrics.serve()
    assert "no /metrics" in caplog.text


def test_a_worker_shows_its_gpu_by_the_number_that_it_has_on_the_machine(
    worker_metrics: WorkerMetrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = [(0, {"total": 10, "free": 7})]
    monkeypatch.setattr("worker.devices.accelerators.memory_of_devices", lambda: iter(memory))
    worker_metrics.describe({"device": "3", "gpu": "GPU 3 (NVIDIA H200)"})
    value = worker_metrics.registry.get_sample_value
    assert value("maskq_worker_info", {"model": "demo", "device": "3", "gpu": "GPU 3 (NVIDIA H200)"}) == 1
    assert value("maskq_device_memory_bytes", {"device": "3", "kind": "free"}) == 7
