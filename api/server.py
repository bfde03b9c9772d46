"""The front end under uvicorn, as `python -m api` runs it and tests do."""

from __future__ import annotations

import socket

import uvicorn

from api.app import create_app
from api.http.header_limit import BoundedHttpProtocol
from api.http.public_address import PublicAddress
from shared.settings import Settings

_STOP_S = 10
"""Time for uploads to end after the process is told to stop. Waiting requests are answered at once."""


class FrontEndServer(uvicorn.Server):
    """Answers all waiting requests when it stops, so that it does not wait for their jobs."""

    def __init__(self, settings: Settings, host: str, port: int) -> None:
        """Make the server; `run` starts it.

        Raises:
            ConfigurationError: as `create_app`.
        """
        self.app = create_app(settings)
        super().__init__(
            uvicorn.Config(
                PublicAddress(self.app, settings.http.public_url, settings.http.forwarded_allow_ips),
                host=host,
                port=port,
                http=BoundedHttpProtocol,
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

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the waiting requests, then stop as uvicorn does."""
        self.app.state.services.watcher.close()
        await super().shutdown(sockets)
