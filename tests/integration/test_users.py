"""Redis with the users that compose gives it: each may do what its process needs; a restart loses nothing."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from local.broker import free_port, wait_for_server
from shared.domain.api_key import Charge, RequestKind, Scope, fingerprint
from shared.domain.job import JobFailure
from shared.domain.webhook import Attempt, DeliveryState, Webhook
from shared.process.notifier import Notifier, celery_app, queue_name
from shared.settings import Settings
from shared.store import key_names
from shared.store.api_keys import ApiKeyStore
from shared.store.deliveries import DeliveryStore, Verdict
from shared.store.durability import require_durable_server
from shared.store.key_names import KeyName
from shared.store.leases import LeaseStore, Outcome
from shared.store.submissions import SubmissionStore
from shared.store.webhook_secrets import WebhookSecretStore
from testing.factories import new_job
from testing.required import require_program

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


_Users = Callable[[str], Settings]
"""Gives the settings of `api`, `worker` or `webhooks`."""


@pytest.fixture
def users(secrets: Path, port: int) -> _Users:
    def settings_of(process: str) -> Settings:
        url = (secrets / process / "redis_url").read_text().replace("redis:6379", f"127.0.0.1:{port}")
        return Settings.of(redis_url=url, restart_grace_s=0.0)

    return settings_of


@contextmanager
def _server(port: int, secrets: Path, data: Path) -> Iterator[subprocess.Popen[bytes]]:
    data.mkdir(exist_ok=True)
    options = [
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--dir",
        str(data),
        "--aclfile",
        str(secrets / "redis/users.acl"),
    ]
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
            request = new_job(
                timeout_s=60,
                webhook=Webhook(url="https://a.example/x", base_url="https://b.example/"),
                idempotency_key="a",
            )
            return (await store.submit(request)).job.id
        finally:
            await store.close()

    return asyncio.run(submit())


def test_accepted_jobs_survive_a_kill_of_the_server(users: _Users, port: int, secrets: Path, tmp_path: Path) -> None:
    with _server(port, secrets, tmp_path / "data"):
        job_id = _submit(users("api"))
    with _server(port, secrets, tmp_path / "data"):
        store = LeaseStore.connect(users("worker"))
        lease = store.claim("demo", is_idle=True)
        assert lease is not None
        assert (lease.job.id, lease.image) == (job_id, b"image")
        store.close()


def test_each_process_may_do_what_it_needs(users: _Users, port: int, secrets: Path, tmp_path: Path) -> None:
    with _server(port, secrets, tmp_path / "data"):
        for process in ("api", "worker", "webhooks"):
            require_durable_server(users(process).redis)
            _notify(users(process))
        job_id = _submit(users("api"))
        _work(users("worker"))
        asyncio.run(_deliver(users("webhooks")))
        asyncio.run(_serve(users("api"), job_id))


def _work(settings: Settings) -> None:
    store = LeaseStore.connect(settings)
    store.heartbeat("demo", "me")
    for is_last in (False, True):
        lease = store.claim("demo", is_idle=True)
        assert lease is not None
        failed = Outcome(failure=JobFailure(type="x", detail="y"))
        assert store.finish(lease, failed) if is_last else store.release(lease)
    store.reap("demo")
    assert store.live_workers("demo") == ["me"]
    assert list(store.canceled(lambda: True)) == []
    store.close()


async def _deliver(settings: Settings) -> None:
    store = DeliveryStore.connect(settings)
    await store.heartbeat("me")
    lease = await store.claim([])
    assert lease is not None
    attempt = Attempt(at_ms=1, duration_s=0.1, status=500)
    assert await store.record(lease, attempt, Verdict(DeliveryState.PENDING, retry_in_s=9)) is DeliveryState.PENDING
    await store.close()
    secrets = WebhookSecretStore.connect(settings)
    assert await secrets.show("anonymous") == await secrets.show("anonymous")
    await secrets.close()


async def _serve(settings: Settings, job_id: str) -> None:
    keys = ApiKeyStore.connect(settings.redis)
    key, secret = await keys.create("me", [Scope.SUBMIT])
    assert await keys.admit(fingerprint(secret), Charge(RequestKind.READ)) is not None
    assert await keys.link_secret() == await keys.link_secret()
    assert await keys.revoke(key.id)
    await keys.close()
    store = SubmissionStore.connect(settings)
    state = await store.read(job_id)
    assert state.job.status == "failed"
    await store.cancel(job_id)
    await store.stats("demo")
    await store.close()
    deliveries = DeliveryStore.connect(settings)
    delivery = await deliveries.read(job_id)
    assert delivery is not None
    assert len(delivery.attempts) == 1
    await deliveries.redeliver(job_id)
    await deliveries.close()


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


def test_nobody_can_do_more(users: _Users, port: int, secrets: Path, tmp_path: Path) -> None:
    with _server(port, secrets, tmp_path / "data"):
        with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
            stranger.get("maskq:job:1")
        with Redis(port=port, username="health", password="any") as health, pytest.raises(NoPermissionError):
            health.get("maskq:job:1")
        for process, refused in _REFUSED.items():
            with Redis.from_url(users(process).redis.redis_url) as redis:
                for command in (*_NOBODY, *refused):
                    with pytest.raises(NoPermissionError):
                        redis.execute_command(*command.split())


_NOBODY = ("FLUSHALL", "SHUTDOWN", "KEYS *", "SCAN 0", "CONFIG SET dir /", "ACL LIST", "GET other", "MONITOR")
_KEYS = (
    "HGETALL maskq:api-keys",
    "HSET maskq:api-keys a b",
    "EVAL return(redis.call('HGETALL',KEYS[1])) 1 maskq:api-keys",
    "GET maskq:link-secret",
    "SET maskq:link-secret a",
)
_SECRETS = ("ZRANGE maskq:webhook-secrets:me 0 -1", "ZADD maskq:webhook-secrets:me 1 a")
_REFUSED = {
    "api": _SECRETS,
    "worker": (*_KEYS, *_SECRETS, "GET maskq:idempotency:me:a", "ZRANGE maskq:owned:me 0 -1", "GET maskq:rate:a"),
    "webhooks": (
        *_KEYS,
        "HSET maskq:job:1 status queued",
        "GET maskq:image:1",
        "GET maskq:result:1",
        "ZADD maskq:ready:demo 1 a",
        "GET maskq:idempotency:me:a",
    ),
}
"""Commands that each process is refused."""


def test_the_passwords_are_made_once(root: Path, secrets: Path) -> None:
    before = {path: path.read_text() for path in secrets.rglob("*") if path.is_file()}
    subprocess.run(["sh", root / "deploy/redis/users", secrets], check=True)
    assert {path: path.read_text() for path in before} == before
    urls = [text for path, text in before.items() if path.name == "redis_url"]
    passwords = {url.split(":")[2].split("@")[0] for url in urls}
    assert len(urls) == len(passwords) == 3
    assert {len(password) for password in passwords} == {64}


def test_every_key_of_maskq_has_a_user(secrets: Path) -> None:
    """A new name in `key_names` needs a place in deploy/redis/users."""
    users = (secrets / "redis/users.acl").read_text()
    patterns = [word.partition("~")[2] for word in users.split() if "~maskq" in word]
    names = {name: value for name, value in vars(key_names).items() if isinstance(value, KeyName) or name.isupper()}
    keys = {name: getattr(value, "_format", value).replace("%s", "x") for name, value in names.items()}
    channels = {"CHANGES", "CANCELED"}
    assert {name for name, key in keys.items() if not any(fnmatch(key, each) for each in patterns)} == channels
