"""A server that can be killed, frozen, and started again with other options, on the same port and data."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from local.broker import free_port
from testing.required import require_program

_PATIENCE_S = 60.0
_RIGHTS = ("on", ">secret", "~*", "&*", "+@all")


class Server:
    """The system's redis-server. maskq connects as a user whose rights a test may change."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        folder.mkdir()
        self.admin = Redis(
            port=self.port, username="operator", password="secret", socket_timeout=5, retry=Retry(NoBackoff(), 0)
        )
        """A client of the operator, whose rights stay."""

    @property
    def url(self) -> str:
        """REDIS_URL of all processes."""
        return f"redis://maskq:secret@127.0.0.1:{self.port}/0"

    def start(self, *options: str) -> None:
        """Start it, and return once its port is open."""
        common = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--appendonly", "yes"]
        users = [word for name in ("operator", "maskq") for word in ("--user", name, *_RIGHTS)]
        log = (self.folder / "server.log").open("ab")
        command = [require_program("redis-server"), *common, "--save", "", *users, *options]
        self._process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()

    def wait(self) -> None:
        """Return once it answers and has its data."""
        self.until(lambda: self.admin.ping() is True)

    def until(self, happened: Callable[[], Any]) -> None:
        """Return once it has happened. An error of the server counts as no."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if happened():
                    return
            except RedisError:
                pass
            time.sleep(0.02)
        raise AssertionError((self.folder / "server.log").read_text("utf-8", "replace")[-3000:])

    def restart(self, *options: str) -> None:
        """Kill it, and start it with other options on the same data."""
        self.kill()
        self.start(*options)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stop it in the middle of what it does."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def let_in(self) -> None:
        """Give maskq all rights."""
        self.admin.execute_command("ACL", "SETUSER", "maskq", *_RIGHTS)

    def clients(self) -> list[dict[str, Any]]:
        """The connections of maskq."""
        return [client for client in self.admin.client_list() if client["user"] != "operator"]

    def disconnect_clients(self) -> None:
        """Close the connections of maskq."""
        for client in self.clients():
            self.admin.client_kill_filter(_id=client["id"])
