"""GET /metrics: figures of this process and of the ledger, for Prometheus. docs/operations.md explains them."""

from __future__ import annotations

import ipaddress
from typing import cast

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from api.http.request_metrics import RequestMetrics
from api.ledger_metrics import StatsByModel, ledger_text
from api.services import Services, ServicesDep
from shared.errors import ConfigurationError
from shared.settings import HttpSettings

router = APIRouter()


class Networks:
    """Whose clients may read the figures."""

    def __init__(self, settings: HttpSettings) -> None:
        """Raises: ConfigurationError, if `MASKQ_METRICS_ALLOW` is not a list of networks."""
        try:
            self._networks = [ipaddress.ip_network(each.strip()) for each in settings.metrics_allow.split(",")]
        except ValueError as error:
            raise ConfigurationError(f"MASKQ_METRICS_ALLOW: {error}") from None

    def __contains__(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False  # a client on a Unix socket has a name
        return any(ip in network for network in self._networks)


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, services: ServicesDep) -> Response:
    """Others than those in `MASKQ_METRICS_ALLOW` find nothing here. While Redis is away the rest is shown."""
    allowed = cast(Networks, request.app.state.metrics_allowed)
    if request.client is None or request.client.host not in allowed:
        raise HTTPException(404)
    own = cast(RequestMetrics, request.app.state.metrics)
    text = ledger_text(await _figures(services)) + generate_latest(own.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def _figures(services: Services) -> StatsByModel | None:
    try:
        return {name: await services.store.stats(name) for name in services.models}
    except RedisError:
        return None
