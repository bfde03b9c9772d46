"""With a collector of traces, each job has one trace from the request to the device."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from testing.fleet import Fleet
from testing.load_clients import LoadClients
from testing.pictures import photo_sized_png
from testing.servers import website
from tests.jobs import submit

pytestmark = pytest.mark.slow


class Collector(BaseHTTPRequestHandler):
    """Receives spans as OTLP over HTTP."""

    spans: ClassVar[list[tuple[str, Span]]] = []
    """Each span with the name of the service that sent it."""

    def do_POST(self) -> None:
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
        for group in sent.resource_spans:
            (service,) = [each.value.string_value for each in group.resource.attributes if each.key == "service.name"]
            self.spans.extend((service, span) for scope in group.scope_spans for span in scope.spans)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def collector() -> Iterator[str]:
    Collector.spans.clear()
    with website(Collector) as url:
        yield url


def test_a_job_has_one_trace_from_the_request_to_the_device(collector: str, tmp_path: Path) -> None:
    with Fleet(tmp_path, MASKQ_OTLP_ENDPOINT=collector, OTEL_BSP_SCHEDULE_DELAY="100") as fleet:
        asyncio.run(_one_job(fleet))
        deadline = time.monotonic() + 60
        while not (spans := _trace_of_the_job()).keys() >= {"queue", "job", "preprocess", "model", "render"}:
            assert time.monotonic() < deadline, [span.name for _, span in Collector.spans]
            time.sleep(0.1)
    request_service, request = spans["POST /segment/"]
    assert request_service == "maskq-api"
    worker_service, job = spans["job"]
    assert worker_service == "maskq-worker"
    assert job.parent_span_id == request.span_id
    assert spans["model"][1].parent_span_id == job.span_id
    model = spans["model"][1]
    assert model.end_time_unix_nano - model.start_time_unix_nano == pytest.approx(20e6, rel=0.01)


def test_the_last_spans_of_a_worker_that_stops_are_sent(collector: str, tmp_path: Path) -> None:
    with Fleet(tmp_path, MASKQ_OTLP_ENDPOINT=collector, OTEL_BSP_SCHEDULE_DELAY="600000") as fleet:
        asyncio.run(_one_job(fleet))
    assert "job" in {span.name for service, span in Collector.spans if service == "maskq-worker"}


@pytest.mark.parametrize("names", ["", "http", "http/dup"])
def test_no_trace_has_a_signature(collector: str, tmp_path: Path, names: str) -> None:
    more: dict[str, Any] = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_SEMCONV_STABILITY_OPT_IN": names}
    with Fleet(tmp_path, MASKQ_OTLP_ENDPOINT=collector, **more) as fleet:
        with httpx2.Client(base_url=fleet.url, timeout=60) as client:
            job = submit(client, headers={"Prefer": "wait=60"}).json()
            overlay = client.post(f"/jobs/{job['id']}/links").json()["overlay"]
            assert client.get(overlay).status_code == 200
        deadline = time.monotonic() + 60
        while not any(span.name.startswith("GET /jobs") for _, span in Collector.spans):
            assert time.monotonic() < deadline, [span.name for _, span in Collector.spans]
            time.sleep(0.1)
    assert "overlay.png" in str(Collector.spans)
    assert overlay[-43:] not in str(Collector.spans)


async def _one_job(fleet: Fleet) -> None:
    clients = LoadClients(fleet.url, photo_sized_png())
    load = await clients.closed_loop(1, 0.01)
    await clients.close()
    assert not load.refusals


def _trace_of_the_job() -> dict[str, tuple[str, Span]]:
    """The spans of the trace that begins with the submission, by name."""
    spans = list(Collector.spans)
    wanted = {span.trace_id for _, span in spans if span.name == "POST /segment/"}
    return {span.name: (service, span) for service, span in spans if span.trace_id in wanted}
