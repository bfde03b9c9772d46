"""Runs the application until it is stopped."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

from maskq.errors import ConfigurationError

_GRACE_S = 5


def serve(app: Starlette, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Listen, call `tell` with the URL, and serve until SIGINT or SIGTERM.

    Raises:
        ConfigurationError: the address cannot be listened on.
    """
    with _listening(host, port) as sock:
        name = f"[{host}]" if ":" in host else host
        tell(f"http://{name}:{sock.getsockname()[1]}")
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE_S)
        uvicorn.Server(config).run(sockets=[sock])


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error
