"""Real servers for tests: Valkey from the wheel, the system's Redis, and in a thread the front end or a web server."""

from __future__ import annotations

import asyncio
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseServer

from api.auth.policy import settle_access
from api.server import FrontEndServer
from local.broker import EmbeddedBroker, free_port, wait_for_server
from shared.settings import Settings
from testing.required import require_program


@contextmanager
def website(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """A web server on loopback, with this handler. Yields its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    """Serve in a thread while the context lasts."""
    thread = threading.Thread(target=server.serve_forever, args=[0.02])  # seconds until it notices the end
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@contextmanager
def embedded_broker(folder: Path) -> Iterator[str]:
    """The embedded broker with its data in `folder`. Yields its URL."""
    broker = EmbeddedBroker.prepare(folder)
    with subprocess.Popen(broker.command, pass_fds=(broker.lock.fileno(),)) as process:
        try:
            broker.wait()
            yield broker.url
        finally:
            _end(process)
            broker.lock.close()


@contextmanager
def system_redis(folder: Path) -> Iterator[str]:
    """The system's redis-server. Skips the test if there is none; in CI the test fails. Yields its URL."""
    program = require_program("redis-server")
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--appendonly", "yes", "--save", ""]
    with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:
        url = f"redis://127.0.0.1:{port}/0"
        try:
            wait_for_server(url)
            yield url
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a server with SIGTERM, or with SIGKILL after 10 s: while it writes its first AOF it ignores SIGTERM."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()


class _QuickToStop(FrontEndServer):
    """Notices within 5 ms that it must stop. uvicorn needs up to 100 ms, and hundreds of tests stop a front end."""

    async def main_loop(self) -> None:
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            for _ in range(20):  # uvicorn ticks every 100 ms
                if not self.should_exit:
                    await asyncio.sleep(0.005)


@contextmanager
def front_end(settings: Settings) -> Iterator[str]:
    """The front end in a thread of this process, on loopback. Yields its address."""
    with front_end_server(settings) as server:
        yield f"http://127.0.0.1:{server.config.port}"


@contextmanager
def front_end_server(settings: Settings) -> Iterator[FrontEndServer]:
    """As `front_end`, for tests that need the server object. Yields the running server."""
    server = _QuickToStop(settle_access(settings, "127.0.0.1"), "127.0.0.1", free_port())
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server
    finally:
        server.should_exit = True
        thread.join()
