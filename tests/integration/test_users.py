"""Redis with the users that compose gives it: maskq may do what it needs and no more, and a restart loses nothing."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from local.broker import free_port, wait_for_server
from shared.process.notifier import Notifier, celery_app, queue_name
from shared.settings import Settings
from shared.store.durability import require_durable_server
from shared.store.leases import LeaseStore
from shared.store.submissions import SubmissionStore
from testing.factories import new_job
from testing.servers import require_program

pytestmark = pytest.mark.slow


@pytest.fixture
def secrets(root: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    subprocess.run(["sh", root / "deploy/redis/users", folder], check=True)
    return folder


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def settings(secrets: Path, port: int) -> Settings:
    url = (secrets / "redis_url").read_text().replace("redis:6379", f"127.0.0.1:{port}")
    return Settings.of(redis_url=url)


@contextmanager
def _server(port: int, secrets: Path, data: Path) -> Iterator[subprocess.Popen[bytes]]:
    data.mkdir(exist_ok=True)
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(data), "--aclfile", str(secrets / "users.acl")]
    durable = ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", ""]
    command = [require_program("redis-server"), *options, *durable]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for_server(f"redis://health:any@127.0.0.1:{port}/0")
            yield process
        finally:
            process.kill()


def _submit(settings: Settings) -> str:
    async def submit() -> str:
        store = SubmissionStore.connect(settings)
        try:
            return (await store.submit(new_job(timeout_s=60))).job.id
        finally:
            await store.close()

    return asyncio.run(submit())


def test_accepted_jobs_survive_a_kill_of_the_server(
    settings: Settings, port: int, secrets: Path, tmp_path: Path
) -> None:
    with _server(port, secrets, tmp_path / "data"):
        job_id = _submit(settings)
    with _server(port, secrets, tmp_path / "data"):
        store = LeaseStore.connect(settings)
        lease = store.claim("demo", is_idle=True)
        assert lease is not None
        assert (lease.job.id, lease.image) == (job_id, b"image")
        store.close()


def test_every_command_and_the_notifier_are_allowed(
    settings: Settings, port: int, secrets: Path, tmp_path: Path
) -> None:
    with _server(port, secrets, tmp_path / "data"):
        require_durable_server(settings.redis)
        _submit(settings)
        store = LeaseStore.connect(settings.replace(restart_grace_s=0.0))
        store.heartbeat("demo", "me")
        lease = store.claim("demo", is_idle=True)
        assert lease is not None
        assert store.release(lease)
        store.reap("demo")
        assert store.live_workers("demo") == ["me"]
        listening = store.canceled(lambda: True)
        assert list(listening) == []
        store.close()
        _notify(settings)


def _notify(settings: Settings) -> None:
    """Send a message through Celery's transport and receive it."""
    notifier = Notifier(settings.redis)
    notifier.notify(queue_name("demo"), "job")
    notifier.close()
    app = celery_app(settings.redis, "demo")
    deadline = time.monotonic() + 30
    with app.connection_for_read() as connection, connection.SimpleQueue("maskq.demo") as queue:
        message = queue.get(timeout=deadline - time.monotonic())
        assert message.headers["task"] == "maskq.look"
        message.ack()
    app.close()


def test_other_users_are_refused_and_maskq_cannot_reconfigure_the_server(
    settings: Settings, port: int, secrets: Path, tmp_path: Path
) -> None:
    with _server(port, secrets, tmp_path / "data"):
        with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
            stranger.get("maskq:job:1")
        with Redis(port=port, username="health", password="any") as health, pytest.raises(NoPermissionError):
            health.get("maskq:job:1")
        with Redis.from_url(settings.redis.redis_url) as maskq:
            for command in ("FLUSHALL", "SHUTDOWN", "KEYS *", "CONFIG SET dir /", "ACL LIST", "GET other"):
                with pytest.raises(NoPermissionError):
                    maskq.execute_command(*command.split())


def test_the_password_is_made_once(root: Path, secrets: Path) -> None:
    before = (secrets / "users.acl").read_text()
    subprocess.run(["sh", root / "deploy/redis/users", secrets], check=True)
    assert (secrets / "users.acl").read_text() == before
    password = (secrets / "redis_url").read_text().split(":")[2].split("@")[0]
    assert len(password) == 64
