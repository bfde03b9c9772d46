"""GET /metrics: the request metrics of this process and the metrics of the ledger, in one answer for Prometheus.

`api.http.request_metrics` and `api.ledger_metrics` make them; docs/operations.md explains them.
"""

from __future__ import annotations

import ipaddress
from typing import cast

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from api.dependencies import ServicesDep
from api.http.public_address import came_through_a_proxy
from api.http.request_metrics import RequestMetrics
from api.ledger_metrics import StatsByModel, ledger_text
from api.services import Services
from shared.errors import ConfigurationError

router = APIRouter()


class Networks:
    """The networks whose clients may read `/metrics`."""

    def __init__(self, networks: str) -> None:
        """`networks` is comma-separated, as in `MASKQ_METRICS_ALLOW`.

        Raises:
            ConfigurationError: a part is not a network.
        """
        try:
            self._networks = [ipaddress.ip_network(each.strip()) for each in networks.split(",")]
        except ValueError as error:
            raise ConfigurationError(f"MASKQ_METRICS_ALLOW: {error}") from None

    def __contains__(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False  # a client on a Unix socket has no address
        return any(ip in network for network in self._networks)


@router.head("/metrics", include_in_schema=False)
@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, services: ServicesDep) -> Response:
    """All metrics; 404 for clients outside `MASKQ_METRICS_ALLOW`, and for requests that a proxy passed on, whoever they
    are said to be from: Prometheus asks directly. While Redis is away, the ledger's are missing."""
    allowed = cast(Networks, request.app.state.metrics_allowed)
    if request.client is None or request.client.host not in allowed or came_through_a_proxy(request):
        raise HTTPException(404)
    own = cast(RequestMetrics, request.app.state.metrics)
    text = ledger_text(await _stats(services)) + generate_latest(own.registry)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


async def _stats(services: Services) -> StatsByModel | None:
    try:
        return {name: await services.store.stats(name) for name in services.models}
    except RedisError:
        return None
