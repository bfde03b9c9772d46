"""Errors of a Redis that is there and does not do what it is asked: every process goes on, and works when it does."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image
from redis import Redis

from local.broker import free_port
from testing.fleet import SHORT_LEASES
from testing.servers import require_program, system_redis

pytestmark = pytest.mark.slow

_PATIENCE_S = 30.0
_TROUBLE_S = 2.5
"""Longer than the period of every periodic task, the heartbeat's of `SHORT_LEASES` included."""
_PROGRAMS = {"api": ["-m", "api"], "worker": ["-m", "testing.scripted_worker"], "webhooks": ["-m", "webhooks"]}


@dataclass
class Service:
    """A server, and one process of each kind on it. They log in as a user whom a test may change."""

    folder: Path
    admin: Redis
    url: str
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    api_port: int = field(default_factory=free_port)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text("utf-8", "replace")

    def logs(self) -> str:
        return "".join(f"--- {name}\n{self.log(name)}" for name in self.processes)

    def until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not happened():
            self.require_running()
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.05)

    def require_running(self) -> None:
        for name, process in self.processes.items():
            assert process.poll() is None, f"{name} ended with {process.poll()}\n{self.log(name)}"

    def submit(self, **more: str) -> httpx2.Response:
        image = io.BytesIO()
        Image.new("RGB", (8, 8)).save(image, "PNG")
        files = {"image_file": ("a.png", image.getvalue())}
        with self._client() as client:
            return client.post("/segment/", data={"prompt": "cat", **more}, files=files)

    def get(self, path: str) -> httpx2.Response:
        with self._client() as client:
            return client.get(path)

    def is_ready(self) -> bool:
        try:
            answer = self.get("/readyz")
        except httpx2.TransportError:
            return False
        return answer.status_code == 200 and answer.json()["live_workers"] == {"demo": 1}

    def _client(self) -> httpx2.Client:
        return httpx2.Client(base_url=f"http://127.0.0.1:{self.api_port}", timeout=20, verify=False)

    def succeeds(self, job_id: str) -> bool:
        answer = self.get(f"/jobs/{job_id}")
        return answer.status_code == 200 and answer.json()["status"] == "succeeded"

    def works(self) -> bool:
        """Whether a new job is accepted."""
        self.accepted = self.submit()
        return self.accepted.status_code == 202


@pytest.fixture
def service(root: Path, tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "data").mkdir()
    with system_redis(tmp_path / "data") as url, Redis.from_url(url) as admin, ExitStack() as stack:
        _let_in(admin)
        here = Service(tmp_path, admin, url.replace("redis://", "redis://maskq:secret@"))
        leases = {**SHORT_LEASES, "MASKQ_GIVE_UP_S": "8", "MASKQ_LEASE_S": "10"}
        environment = {**os.environ, **leases, "REDIS_URL": here.url}
        for name, command in _PROGRAMS.items():
            log = stack.enter_context((tmp_path / f"{name}.log").open("wb"))
            port = ["--port", str(here.api_port)] if name == "api" else []
            here.processes[name] = subprocess.Popen(
                [sys.executable, *command, *port], cwd=root, env=environment, stdout=log, stderr=log
            )
            stack.callback(_end, here.processes[name])
        here.until(here.is_ready)
        here.until(lambda: here.admin.exists("maskq:deliverers") == 1)
        yield here


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _let_in(admin: Redis) -> None:
    admin.execute_command("ACL", "SETUSER", "maskq", "on", ">secret", "~*", "&*", "+@all")


def _clients(admin: Redis) -> list[dict[str, Any]]:
    return [client for client in admin.client_list() if client["user"] == "maskq"]


# --- What goes wrong, and how it is mended ----------------------------------------------------------------------------


@contextmanager
def _replica(admin: Redis, folder: Path) -> Iterator[None]:
    admin.replicaof("127.0.0.1", str(free_port()))
    yield
    admin.replicaof("NO", "ONE")


@contextmanager
def _replica_without_data(admin: Redis, folder: Path) -> Iterator[None]:
    admin.config_set("replica-serve-stale-data", "no")
    with _replica(admin, folder):
        yield


@contextmanager
def _too_few_replicas(admin: Redis, folder: Path) -> Iterator[None]:
    admin.config_set("min-replicas-to-write", "1")
    yield
    admin.config_set("min-replicas-to-write", "0")


@contextmanager
def _full_memory(admin: Redis, folder: Path) -> Iterator[None]:
    admin.config_set("maxmemory", "1")
    yield
    admin.config_set("maxmemory", "0")


@contextmanager
def _unwritable_disk(admin: Redis, folder: Path) -> Iterator[None]:
    (folder / "data" / "dump.rdb").mkdir()  # an RDB can then not be renamed to it, not even by root
    admin.config_set("save", "1 0")
    admin.bgsave()
    deadline = time.monotonic() + 10
    while admin.info("persistence")["rdb_last_bgsave_status"] == "ok":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield
    admin.config_set("save", "")
    (folder / "data" / "dump.rdb").rmdir()


@contextmanager
def _no_writing(admin: Redis, folder: Path) -> Iterator[None]:
    admin.execute_command("ACL", "SETUSER", "maskq", "-@write", "-evalsha")
    yield
    _let_in(admin)


@contextmanager
def _nothing_allowed(admin: Redis, folder: Path) -> Iterator[None]:
    admin.execute_command("ACL", "SETUSER", "maskq", "nocommands", "resetkeys", "resetchannels")
    yield
    _let_in(admin)


@contextmanager
def _shut_out(admin: Redis, folder: Path) -> Iterator[None]:
    admin.execute_command("ACL", "SETUSER", "maskq", "off")
    _disconnect(admin)
    yield
    _let_in(admin)


@contextmanager
def _endless_script(admin: Redis, folder: Path) -> Iterator[None]:
    admin.config_set("busy-reply-threshold", "100")
    process = subprocess.Popen(
        [require_program("redis-cli"), "-p", str(_port(admin)), "EVAL", "while true do end", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield
    admin.script_kill()
    process.wait(10)


def _port(admin: Redis) -> int:
    return int(admin.connection_pool.connection_kwargs["port"])


def _disconnect(admin: Redis) -> None:
    for client in _clients(admin):
        admin.client_kill_filter(_id=client["id"])


@contextmanager
def _disconnected(admin: Redis, folder: Path) -> Iterator[None]:
    _disconnect(admin)
    yield


@contextmanager
def _unblocked(admin: Redis, folder: Path) -> Iterator[None]:
    deadline = time.monotonic() + 10
    while not (blocked := [client for client in _clients(admin) if client["cmd"] == "brpop"]):
        assert time.monotonic() < deadline
    for client in blocked:
        admin.execute_command("CLIENT", "UNBLOCK", client["id"], "ERROR")
    yield


_TROUBLES = {
    "READONLY": _replica,
    "MASTERDOWN": _replica_without_data,
    "NOREPLICAS": _too_few_replicas,
    "OOM": _full_memory,
    "MISCONF": _unwritable_disk,
    "NOPERM": _nothing_allowed,
    "NOPERM for writing": _no_writing,
    "WRONGPASS": _shut_out,
    "BUSY": _endless_script,
    "CLIENT KILL": _disconnected,
    "UNBLOCKED": _unblocked,
}
_HARMLESS = {"CLIENT KILL", "UNBLOCKED"}


@pytest.mark.parametrize("trouble", _TROUBLES)
def test_every_process_outlives_an_error_of_the_server(service: Service, trouble: str) -> None:
    in_hand = service.submit(prompt="slow cat")  # takes 0.4 s
    assert in_hand.status_code == 202
    with _TROUBLES[trouble](service.admin, service.folder):
        deadline = time.monotonic() + _TROUBLE_S
        while time.monotonic() < deadline:
            service.require_running()
            if trouble not in _HARMLESS:
                answer = service.submit()
                assert answer.status_code == 503, answer.text
                assert answer.json()["type"] == ("store_full" if trouble == "OOM" else "store_unavailable")
                assert int(answer.headers["retry-after"]) > 0
            time.sleep(0.2)
    service.until(service.works)
    service.until(lambda: service.succeeds(service.accepted.json()["id"]))
    service.until(lambda: service.succeeds(in_hand.json()["id"]))
    service.require_running()
    assert "Traceback" not in service.logs(), service.logs()
    for name in service.processes:
        assert service.log(name).count("waiting for Redis") <= 2, service.log(name)
    assert "attempt 2" not in service.log("worker")
