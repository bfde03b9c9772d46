"""The front end under uvicorn, as `python -m api` runs it and tests do."""

from __future__ import annotations

import functools
import socket
import time

import uvicorn

from api.app import create_app
from api.auth.caller import network_of
from api.http.connection_limit import ConnectionLimit
from api.http.cross_origin import AllowedOrigins, CrossOrigin
from api.http.header_limit import BoundedHttpProtocol
from api.http.public_address import PublicAddress
from api.http.security_headers import SecurityHeaders
from shared.settings import Settings

_STOP_S = 10
"""Time for uploads to end after the process is told to stop. Waiting requests are answered at once."""
_TICKS_PER_S = 10
"""Of uvicorn's main loop."""
_UNSENT_BYTES = 131_072
"""Most bytes of an answer that the kernel keeps before it sends them. By default it keeps 2.5 MB of each connection for
a client that reads nothing, and one that reads slowly looks like that."""


class FrontEndServer(uvicorn.Server):
    """Answers all waiting requests when it stops, so that it does not wait for their jobs."""

    def __init__(self, settings: Settings, host: str, port: int) -> None:
        """Make the server; `run` starts it.

        Raises:
            ConfigurationError: as `create_app`.
        """
        self.app = create_app(settings, host)
        address = PublicAddress(self.app, settings.http.public_url, settings.http.forwarded_allow_ips)
        limit = ConnectionLimit(settings.http.max_connections, network_of, address.is_proxy)
        origins = AllowedOrigins.of(settings.http.cors_origins)
        super().__init__(
            uvicorn.Config(
                SecurityHeaders(CrossOrigin(address, origins)),
                host=host,
                port=port,
                http=functools.partial(BoundedHttpProtocol, limit=limit, origins=origins),  # type: ignore[arg-type]
                ws="none",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,  # PublicAddress reads them
                timeout_graceful_shutdown=_STOP_S,
            )
        )

    def request_stop(self) -> None:
        """Stop soon. May be called by any thread."""
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening."""
        await super().startup(sockets)
        for server in self.servers:
            for listener in server.sockets:
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)  # inherited

    async def on_tick(self, counter: int) -> bool:
        """Every second, close connections whose clients do not take their answers."""
        if counter % _TICKS_PER_S == 0:
            now_s = time.monotonic()
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedHttpProtocol):
                    connection.abort_if_stuck(now_s)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the waiting requests, then stop as uvicorn does."""
        self.app.state.services.watcher.close()
        await super().shutdown(sockets)
