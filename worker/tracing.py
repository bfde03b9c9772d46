"""Spans that a worker adds to the trace of the request that submitted a job."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

from shared.domain.job import Job
from shared.process.tracing import context_of
from worker.pipeline_result import PipelineResult

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000


@contextmanager
def traced(job: Job) -> Iterator[Callable[[PipelineResult], None]]:
    """Add the work of this context to the job's trace, if it has one. Call the yielded function with the result. If it
    is not called, the trace shows an error."""
    results: list[PipelineResult] = []
    begin_ns = time.time_ns()
    try:
        yield results.append
    finally:
        if job.request.traceparent:
            _record(job, begin_ns, results)


def _record(job: Job, begin_ns: int, results: list[PipelineResult]) -> None:
    """A span for the wait, with times of the Redis clock; one for the work, with times of this machine; and in it one
    for each stage."""
    tracer, parent = trace.get_tracer("maskq"), context_of(job.request.traceparent)
    queue = tracer.start_span("queue", parent, start_time=job.created_at_ms * _NS_PER_MS)
    queue.end((job.started_at_ms or job.created_at_ms) * _NS_PER_MS)
    work = tracer.start_span("job", parent, start_time=begin_ns)
    work.set_attributes({"maskq.job_id": job.id, "maskq.model_id": job.request.model_id, "maskq.attempt": job.attempt})
    for done in results:
        work.set_attribute("maskq.batch_size", done.batch_size)
        context, at_ns = trace.set_span_in_context(work), begin_ns
        for name, seconds in (("preprocess", done.preprocess_s), ("model", done.model_s), ("render", done.render_s)):
            stage = tracer.start_span(name, context, start_time=at_ns)
            at_ns += round(seconds * _NS_PER_S)
            stage.end(at_ns)
    if not results:
        work.set_status(Status(StatusCode.ERROR))
    work.end()
