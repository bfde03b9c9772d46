"""A real nginx with the files of deploy/nginx, in front of a server of the tests."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.broker import free_port
from testing.required import require_program

_FOLDER = Path(__file__).parents[2] / "deploy/nginx"


@dataclass(frozen=True)
class Proxy:
    """Ports of a running proxy on loopback."""

    http: int
    tls: int
    redirect: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"


@contextmanager
def proxy(folder: Path, api: str, file: str = "nginx.conf", **settings: str) -> Iterator[Proxy]:
    """Run `start FILE` with these settings, in front of `api`, a host and a port. Skips the test without nginx."""
    require_program("nginx")
    ports = Proxy(free_port(), free_port(), free_port())
    program = _copied(folder, {"http://api:8000": f"http://{api}", **_listening(ports)})
    environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin", **settings}
    with subprocess.Popen(["sh", program, file], env=environment) as process:
        try:
            _wait_for(process, ports.http)
            yield ports
        finally:
            process.terminate()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until nginx listens."""
    while process.poll() is None:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"nginx ended with status {process.returncode}")


def _listening(ports: Proxy) -> dict[str, str]:
    wanted = {"8080": ports.http, "8443 ssl http2": f"{ports.tls} ssl http2", "8081": ports.redirect}
    return {f"listen {each};": f"listen 127.0.0.1:{port};" for each, port in wanted.items()}


def _copied(folder: Path, replaced: dict[str, str]) -> Path:
    """Copy the files, with other addresses and places than those in a container. Returns the program that starts it."""
    target = folder / "nginx"
    target.mkdir()
    as_root = "user root;\n" if os.geteuid() == 0 else ""  # else nginx takes a user who cannot read the test's folder
    places = {"/tmp/": f"{folder}/", "made=/tmp/maskq": f"made={folder}/maskq", "/etc/maskq-tls": f"{folder}/tls"}
    for path in _FOLDER.iterdir():
        text = path.read_text("utf-8")
        for old, new in {**replaced, **places, "resolver 127.0.0.11 valid=5s ipv6=off;": ""}.items():
            text = text.replace(old, new)
        (target / path.name).write_text(text.replace("pid ", f"{as_root}pid ", 1), "utf-8")
    return target / "start"
