"""Redis with TLS: certificate and host name are verified by every connection before it sends anything."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from local.broker import free_port
from shared.process.notifier import Notifier, queue_name
from shared.process.redis_monitor import RedisMonitor
from shared.settings import Settings
from shared.store.connection import sync_redis
from shared.store.rights import Process
from shared.store.server_faults import reason_of
from shared.store.submissions import SubmissionStore
from testing.factories import new_job
from testing.required import require_program
from tests.certificates import Authority, Certificate, self_signed
from tests.integration.ways_to_connect import WAYS

pytestmark = pytest.mark.slow

_PASSWORD = "a-secret-password"
_PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@contextmanager
def _tls_redis(folder: Path, certificate: Certificate) -> Iterator[int]:
    """A redis-server with TLS and a password. Yields its port."""
    port = free_port()
    folder.mkdir(exist_ok=True)
    tls = ["--tls-port", str(port), "--port", "0", "--tls-auth-clients", "no"]
    files = ["--tls-cert-file", str(certificate.file), "--tls-key-file", str(certificate.key_file)]
    keeping = ["--dir", str(folder), "--appendonly", "yes", "--save", "", "--requirepass", _PASSWORD]
    command = [require_program("redis-server"), *tls, *files, "--tls-ca-cert-file", str(certificate.file), *keeping]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for_port(port)
            yield port
        finally:
            process.kill()


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        else:
            return


class Impostor:
    """A server with a certificate. Records what it receives after a handshake."""

    def __init__(self, certificate: Certificate) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.received = b""
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._listen, args=[connection], daemon=True).start()

    def _listen(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, self._context.wrap_socket(connection, server_side=True) as stream:
            while part := stream.recv(4096):
                self.received += part
                stream.sendall(b"+OK\r\n")


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Impostor]:
    impostor = Impostor(self_signed(tmp_path, "127.0.0.1"))
    yield impostor
    impostor.close()


def _settings(port: int, ca_file: Path | None, host: str = "127.0.0.1") -> Settings:
    return Settings.of(
        redis_url=f"rediss://:{_PASSWORD}@{host}:{port}/0", ca_file=ca_file, redis_timeout_s=2, accept_unserved=True
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_server_with_a_certificate_of_a_private_ca_is_used(tmp_path: Path, authority: Authority, way: str) -> None:
    with _tls_redis(tmp_path / "data", authority.certificate("127.0.0.1")) as port:
        WAYS[way](_settings(port, authority.file))


@pytest.mark.parametrize("way", WAYS)
def test_an_impostor_gets_nothing_after_the_handshake(impostor: Impostor, authority: Authority, way: str) -> None:
    with pytest.raises((RedisError, OperationalError)):
        WAYS[way](_settings(impostor.port, authority.file))
    assert impostor.connections > 0
    assert impostor.received == b""


@pytest.mark.parametrize(
    ("name", "days", "is_trusted", "why"),
    [
        ("127.0.0.1", 1, False, "certificate not trusted: it is not from a known CA"),
        ("127.0.0.1", -1, True, "certificate not trusted: it has expired"),
        ("redis.example.com", 1, True, "certificate not trusted: it is for another address"),
    ],
)
def test_the_reason_against_a_certificate_is_given(
    tmp_path: Path, authority: Authority, name: str, days: int, is_trusted: bool, why: str
) -> None:
    with (
        _tls_redis(tmp_path / "data", authority.certificate(name, days)) as port,
        pytest.raises(RedisError) as refused,
        sync_redis(_settings(port, authority.file if is_trusted else None).redis) as redis,
    ):
        redis.ping()
    assert reason_of(refused.value) == why


def test_the_host_name_is_verified(tmp_path: Path, authority: Authority) -> None:
    with _tls_redis(tmp_path / "data", authority.certificate("localhost")) as port:
        for way in WAYS.values():
            way(_settings(port, authority.file, "localhost"))
            with pytest.raises((RedisError, OperationalError)):
                way(_settings(port, authority.file))


# --- Programs ---------------------------------------------------------------------------------------------------------

_PROGRAMS = {
    "api": ["--port", "{port}"],
    "testing.scripted_worker": [],
    "webhooks": [],
    "worker.healthcheck": [],
    "webhooks.healthcheck": [],
    "webhooks.secrets_command": ["show"],
    "api.auth.keys_command": ["list"],
    "local.keys": ["list"],
    "local.webhook_secrets": ["show"],
    "local.up": ["--port", "{port}"],
}


def _run(root: Path, program: str, settings: Settings) -> subprocess.CompletedProcess[str]:
    ca_file = {"MASKQ_CA_FILE": str(settings.redis.ca_file)} if settings.redis.ca_file else {}
    return subprocess.run(
        [sys.executable, "-m", program, *(word.format(port=free_port()) for word in _PROGRAMS[program])],
        cwd=root,
        env={**os.environ, **ca_file, "REDIS_URL": settings.redis.redis_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )


@pytest.mark.parametrize("program", _PROGRAMS)
def test_an_impostor_ends_every_program_and_gets_no_password(root: Path, impostor: Impostor, program: str) -> None:
    ended = _run(root, program, _settings(impostor.port, None))
    assert ended.returncode == os.EX_CONFIG, ended.stderr
    assert "certificate not trusted: it is not from a known CA" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert _PASSWORD not in ended.stderr
    assert impostor.received == b""


def test_the_doctor_names_an_untrusted_certificate(root: Path, impostor: Impostor) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local.doctor"],
        cwd=root,
        env={**os.environ, "REDIS_URL": f"rediss://:{_PASSWORD}@127.0.0.1:{impostor.port}/0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_PATIENCE_S,
    )
    assert "certificate not trusted: it is not from a known CA" in done.stdout
    assert impostor.received == b""


def test_a_server_without_tls_where_tls_is_expected_ends_the_process(root: Path, settings: Settings) -> None:
    url = settings.redis.redis_url.replace("redis://", "rediss://")
    ended = _run(root, "testing.scripted_worker", Settings.of(redis_url=url))
    assert ended.returncode == os.EX_CONFIG, ended.stderr
    assert "does not speak TLS: begin the URL with redis://" in ended.stderr.splitlines()[-1]


def test_a_server_with_tls_where_none_is_expected_ends_the_process(
    root: Path, tmp_path: Path, authority: Authority
) -> None:
    with _tls_redis(tmp_path / "data", authority.certificate("127.0.0.1")) as port:
        ended = _run(root, "testing.scripted_worker", Settings.of(redis_url=f"redis://127.0.0.1:{port}/0"))
    assert ended.returncode == os.EX_CONFIG, ended.stderr
    assert "speaks TLS only: begin the URL with rediss://" in ended.stderr.splitlines()[-1]


def test_jobs_pass_through_a_server_with_tls(root: Path, tmp_path: Path, authority: Authority) -> None:
    with _tls_redis(tmp_path / "data", authority.certificate("127.0.0.1")) as port:
        settings = _settings(port, authority.file)
        monitor = RedisMonitor(settings.redis, Process.WORKER)
        assert monitor.is_there()
        worker = subprocess.Popen(
            [sys.executable, "-m", "testing.scripted_worker"],
            cwd=root,
            env={**os.environ, "REDIS_URL": settings.redis.redis_url, "MASKQ_CA_FILE": str(authority.file)},
            stderr=subprocess.DEVNULL,
        )
        try:
            asyncio.run(_two_jobs(settings))
        finally:
            worker.kill()
            worker.wait()


async def _two_jobs(settings: Settings) -> None:
    """The second one reaches a worker that waits for messages."""
    store, notifier = SubmissionStore.connect(settings), Notifier(settings.redis)
    try:
        for _ in range(2):
            job_id = (await store.submit(new_job())).job.id
            notifier.notify(queue_name("demo"), job_id)
            async with asyncio.timeout(_PATIENCE_S):
                async for _ in store.changes():
                    if (await store.read(job_id)).job.status.is_terminal:
                        break
    finally:
        notifier.close()
        await store.close()
