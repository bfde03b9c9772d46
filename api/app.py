"""The front end as an ASGI application. `python -m api` serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI

from api.auth.policy import is_loopback
from api.http.access_log import AccessLog
from api.http.body_limit import BodyLimit
from api.http.cross_origin import AllowedOrigins
from api.http.openapi import complete_document
from api.http.problems import add_problem_handlers
from api.http.query_names import refuse_unknown_query
from api.http.request_metrics import RequestMetrics, RequestTimer
from api.http.same_origin import KnownHosts, SameOrigin
from api.routes import (
    batch_webhooks,
    batches,
    datasets,
    docs,
    events,
    health,
    index,
    jobs,
    limits,
    links,
    metrics,
    models,
    results,
    segment,
    webhooks,
)
from api.routes.metrics import Networks
from api.services import running_services
from api.shares import Shares
from api.submission.schema import submission_schemas
from shared.errors import ConfigurationError
from shared.registry import offered_models
from shared.settings import Settings

_JOB_ROUTERS = [
    module.router
    for module in (segment, batches, batch_webhooks, datasets, jobs, events, results, links, webhooks, limits)
]
_TAGS = [
    {"name": "jobs", "description": "Submit images, follow their jobs, and read results."},
    {"name": "service", "description": "What the service offers, and whether it runs."},
]
_ROUTERS = [*_JOB_ROUTERS, *(module.router for module in (models, health, metrics, index, docs))]


def create_app(settings: Settings, host: str = "127.0.0.1") -> FastAPI:
    """Make the application. It requires API keys, unless `require_keys` is false.

    Args:
        settings: of this process.
        host: the address on which it will listen.

    Raises:
        ConfigurationError: the settings name an unknown model, networks that are none, or a public URL
            whose path maskq has itself.
    """
    _require_free_path(settings.http.public_url)
    offered = offered_models(settings.model)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running_services(settings, offered) as app.state.services:
            yield

    app = FastAPI(
        title="maskq",
        summary="Cuts objects out of images by name.",
        openapi_tags=_TAGS,
        lifespan=lifespan,
        servers=[{"url": settings.http.public_url}] if settings.http.public_url else None,
        root_path_in_servers=not settings.http.public_url,
        docs_url=None,  # api.routes.docs: FastAPI's own pages load their scripts from other hosts
        redoc_url=None,
    )
    app.state.metrics = RequestMetrics()
    app.state.image_memory = Shares(settings.submissions.upload_memory_bytes, "images in memory")
    app.state.metrics_allowed = Networks(settings.http.metrics_allow)
    _add_middleware(app, settings, host)
    add_problem_handlers(app, [route for router in _ROUTERS for route in router.routes])
    if settings.logging.otlp_endpoint:
        _trace_requests(app)
    for router in _ROUTERS:
        strict = [Depends(refuse_unknown_query)] if router in _JOB_ROUTERS else []
        app.include_router(router, dependencies=strict, tags=["jobs" if strict else "service"])
    has_keys = settings.http.require_keys is not False
    complete_document(app, has_keys, submission_schemas(), {"wait": settings.http.max_wait_s})
    return app


def _add_middleware(app: FastAPI, settings: Settings, host: str) -> None:
    """Add what every request passes. The last one is the outermost."""
    if settings.http.require_keys is False:
        public = settings.http.public_url
        hosts = KnownHosts(public, settings.http.allowed_hosts, is_local=is_loopback(host))
        allowed = AllowedOrigins.of(settings.http.cors_origins)
        app.add_middleware(SameOrigin, hosts=hosts, public_url=public, allowed=allowed)
    app.add_middleware(
        BodyLimit,
        timeout_s=settings.http.body_timeout_s,
        room=app.state.image_memory,
        max_bytes=settings.submissions.max_body_bytes,
        streamed={"/batches": settings.submissions.max_batch_bytes},
    )
    app.add_middleware(AccessLog)
    app.add_middleware(RequestTimer, metrics=app.state.metrics)


def _require_free_path(public_url: str) -> None:
    """Raise ConfigurationError if the path of the public URL is one of ours: `/jobs/1` could then be two resources."""
    prefix = urlsplit(public_url).path
    own = {"/openapi.json", *(getattr(route, "path", "") for router in _ROUTERS for route in router.routes)}
    if prefix and any(f"{path}/".startswith(f"{prefix}/") for path in own):
        raise ConfigurationError(f"MASKQ_PUBLIC_URL={public_url}: maskq has {prefix} itself; choose another path")


def _trace_requests(app: FastAPI) -> None:
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor  # installed only where traces are wanted

    FastAPIInstrumentor.instrument_app(
        app,
        server_request_hook=_hide_query,
        excluded_urls="livez,readyz,metrics",
        exclude_spans=["send", "receive"],
    )


def _hide_query(span: Any, _: object) -> None:
    """Leave queries out of a span: they may be secret, and only some conventions for names hide signatures."""
    for name, value in dict(getattr(span, "attributes", None) or {}).items():
        if name == "url.query" or "?" in str(value):
            span.set_attribute(name, "" if name == "url.query" else str(value).partition("?")[0])
