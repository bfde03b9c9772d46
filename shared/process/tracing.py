"""OpenTelemetry traces from a request to the device. Without `MASKQ_OTLP_ENDPOINT` nothing is recorded.

The trace of a request continues in the worker that runs its job: the job's record carries the context (W3C Trace
Context).
"""

from __future__ import annotations

import threading

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.errors import ConfigurationError
from shared.settings import LoggingSettings

_HEADER = "traceparent"
_PROPAGATOR = TraceContextTextMapPropagator()


def start_tracing(settings: LoggingSettings, service: str) -> None:
    """Send the spans of this process to the collector, if there is one, under the name `service`. Call once a process.

    Raises:
        ConfigurationError: the extra `tracing` is not installed.
    """
    if not settings.otlp_endpoint:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigurationError(
            "MASKQ_OTLP_ENDPOINT is set, but the extra `tracing` of maskq is not installed: install it, or unset this"
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def flush_traces(timeout_s: float) -> None:
    """Send the spans that have ended, for at most this time. For a process that ends without the interpreter's
    clean-up, which would do it."""
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)  # only that of the SDK has one
    if flush:
        flushing = threading.Thread(target=flush, daemon=True)
        flushing.start()
        flushing.join(timeout_s)


def current_traceparent() -> str:
    """The context of the current span, to pass to another process; empty if nothing is recorded."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(_HEADER, "")


def context_of(traceparent: str) -> Context:
    """The context that `current_traceparent` returned in another process."""
    return _PROPAGATOR.extract({_HEADER: traceparent})
