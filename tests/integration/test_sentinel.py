"""REDIS_URL names Sentinels: every connection reaches the primary, and follows it when another server becomes it."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from shared.settings import Settings
from shared.store import key_names
from shared.store.connection import async_redis, follow_primary, sync_redis
from shared.store.durability import ServerCheck
from shared.store.leases import LeaseStore
from shared.store.rights import Process
from shared.store.submissions import SubmissionStore
from testing.redis_configuration import SERVICE, GroupOptions, TlsFiles
from testing.redis_group import RedisGroup
from testing.redis_process import RedisProcess
from testing.required import require_program
from tests.certificates import Authority
from tests.integration.processes import Processes, running_processes
from tests.integration.ways_to_connect import WAYS

pytestmark = pytest.mark.slow

_PATIENCE_S = 30.0
_FAULTS: dict[str, Callable[[RedisGroup, RedisProcess], object]] = {
    "killed": lambda group, primary: group.kill(primary),
    "frozen": lambda group, primary: group.freeze(primary),
    "cut off from all but its clients": lambda group, primary: group.cut_off(primary),
    "made a replica": lambda group, primary: group.failover(),
}


def _settings(group: RedisGroup, **more: object) -> Settings:
    return Settings.of(redis_url=group.url, redis_timeout_s=2, accept_unserved=True, **more)


def _lose(group: RedisGroup, fault: str) -> RedisProcess:
    """Do this to the primary. Returns the next one."""
    before = group.primary()
    _FAULTS[fault](group, before)
    return group.wait_for_failover(before)


def test_every_way_to_connect_reaches_the_primary_before_and_after_a_failover(redis_group: RedisGroup) -> None:
    settings = _settings(redis_group)
    for way in WAYS.values():
        way(settings)
    _lose(redis_group, "killed")
    for way in WAYS.values():
        way(settings)


# --- Connections that were open ---------------------------------------------------------------------------------------


def _set_by_thread(group: RedisGroup, redis: Redis, server: RedisProcess) -> None:
    redis.set("key", server.name)
    with group.client(server) as reader:
        assert reader.get("key") == server.name


@pytest.mark.parametrize("fault", _FAULTS)
def test_an_idle_connection_of_a_thread_goes_to_the_next_primary(redis_group: RedisGroup, fault: str) -> None:
    settings = _settings(redis_group)
    with sync_redis(settings.redis) as redis:
        _set_by_thread(redis_group, redis, redis_group.primary())
        after = _lose(redis_group, fault)
        follow_primary(settings.redis)  # as the monitor of each process does
        _set_by_thread(redis_group, redis, after)


@pytest.mark.parametrize("fault", _FAULTS)
def test_idle_connections_of_tasks_go_to_the_next_primary(redis_group: RedisGroup, fault: str) -> None:
    settings = _settings(redis_group)

    async def run() -> None:
        async with async_redis(settings.redis) as redis:
            await asyncio.gather(*(redis.set(f"before-{number}", 1) for number in range(30)))
            after = await asyncio.to_thread(_lose, redis_group, fault)
            follow_primary(settings.redis)
            await asyncio.gather(*(redis.set(f"after-{number}", 1) for number in range(30)))
            with redis_group.client(after) as reader:
                assert reader.exists(*(f"after-{number}" for number in range(30))) == 30

    asyncio.run(run())


@contextmanager
def _cancels_of(settings: Settings) -> Iterator[list[str]]:
    """The ids that a worker hears, subscribed again whenever its connection is lost."""
    heard: list[str] = []
    store, is_stopped = LeaseStore.connect(settings), threading.Event()

    thread = threading.Thread(target=_listen, args=[store, is_stopped, heard])
    thread.start()
    try:
        yield heard
    finally:
        is_stopped.set()
        thread.join()
        store.close()


def _listen(store: LeaseStore, is_stopped: threading.Event, heard: list[str]) -> None:
    while not is_stopped.is_set():
        with suppress(RedisError):
            for job_id in store.canceled(is_stopped.is_set):
                heard.append(job_id)


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_thread_that_waits_for_messages_hears_those_of_the_next_primary(redis_group: RedisGroup, fault: str) -> None:
    settings = _settings(redis_group)
    with _cancels_of(settings) as heard:
        redis_group.wait_for(lambda: _publish(redis_group, key_names.CANCELED, "before") > 0, "a subscriber")
        redis_group.wait_for(lambda: "before" in heard, "the first message")
        _lose(redis_group, fault)
        follow_primary(settings.redis)
        redis_group.wait_for(lambda: _publish(redis_group, key_names.CANCELED, "after") > 0, "a subscriber")
        redis_group.wait_for(lambda: "after" in heard, "the second message")


def _publish(group: RedisGroup, channel: str, message: str) -> int:
    """At the primary. Returns the number of subscribers there."""
    with group.client(group.primary()) as redis:
        return int(redis.publish(channel, message))


@asynccontextmanager
async def _changes_of(settings: Settings) -> AsyncIterator[list[str | None]]:
    heard: list[str | None] = []
    store = SubmissionStore.connect(settings)

    async def listen() -> None:
        while True:
            with suppress(RedisError):
                async for job_id in store.changes():
                    heard.append(job_id)

    task = asyncio.create_task(listen())
    try:
        yield heard
    finally:
        task.cancel()
        await store.close()


@pytest.mark.parametrize("fault", _FAULTS)
def test_a_task_that_waits_for_messages_hears_those_of_the_next_primary(redis_group: RedisGroup, fault: str) -> None:
    settings = _settings(redis_group)

    async def run() -> None:
        async with _changes_of(settings) as heard:
            await _heard(redis_group, heard, "before")
            await asyncio.to_thread(_lose, redis_group, fault)
            follow_primary(settings.redis)
            await _heard(redis_group, heard, "after")

    asyncio.run(run())


async def _heard(group: RedisGroup, heard: list[str | None], message: str) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while message not in heard:
            await asyncio.to_thread(_publish, group, key_names.CHANGES, message)
            await asyncio.sleep(0.02)


# --- Processes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["frozen", "cut off from all but its clients"])
def test_jobs_and_notifications_pass_through_the_next_primary(
    tmp_path: Path, redis_group: RedisGroup, fault: str
) -> None:
    urls = dict.fromkeys(("api", "worker", "webhooks"), redis_group.url)
    with running_processes(tmp_path, urls, MASKQ_CONFIRM_REPLICAS="1") as here:
        here.until(lambda: _succeeds(here))
        after = _lose(redis_group, fault)
        with redis_group.client(after) as redis:
            here.until(lambda: _receivers(redis) == 2)
            here.until(lambda: _succeeds(here, idempotency_key="after"))
            assert redis.exists(key_names.workers("demo"))
        assert "Traceback" not in here.logs()


def _succeeds(here: Processes, idempotency_key: str = "before") -> bool:
    """Submit a job, again and again with the same key: the old primary may still take one, which is lost."""
    answer = here.submit(idempotency_key)
    return answer.is_success and here.has_succeeded(answer.json()["id"])


def _receivers(redis: Redis) -> int:
    """How many processes wait for messages of Celery at this server."""
    return sum(client["cmd"] == "brpop" for client in redis.client_list())


# --- TLS and users ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls_group(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[RedisGroup]:
    """With TLS, a password of the servers, and another of the Sentinels."""
    files = TlsFiles(authority.file, *authority.certificate("127.0.0.1"))
    program = require_program("redis-server")
    options = GroupOptions(program, password="of-servers", sentinel_password="of-sentinels", tls=files)
    with RedisGroup(tmp_path_factory.mktemp("tls") / "redis", options) as group:
        yield group


def _with_tls(group: RedisGroup, ca_file: Path | None, url: str = "") -> Settings:
    hosts = ",".join(f"127.0.0.1:{each.public_port}" for each in group.sentinels)
    usual = f"sentinels://:of-servers@{hosts}/{SERVICE}/0?sentinel_password=of-sentinels"
    return Settings.of(redis_url=url or usual, ca_file=ca_file, redis_timeout_s=2, accept_unserved=True)


def test_the_users_that_compose_makes_suffice_for_every_process_and_for_a_failover(root: Path, tmp_path: Path) -> None:
    """Each kind of process has one; replicas, Sentinels, and who asks these for the primary, have one each."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for script in ("users", "replication", "replication"):  # the second time, nothing is changed
        subprocess.run(["sh", root / "deploy/redis" / script, secrets, "10.0.0"], check=True)
    own = ("dir ", "user default", "sentinel monitor")
    lines = {
        name: [line for line in (secrets / name).read_text().splitlines() if not line.startswith(own)]
        for name in ("redis/users.acl", "redis/replica.conf", "sentinel/sentinel.conf")
    }
    options = GroupOptions(
        require_program("redis-server"),
        server_lines=[*lines["redis/users.acl"], *lines["redis/replica.conf"]],
        sentinel_lines=lines["sentinel/sentinel.conf"],
    )
    with RedisGroup(tmp_path / "group", options) as group:
        _check_rights(secrets, group)
        before = group.primary()
        group.kill(before)
        group.wait_for_failover(before)
        _check_rights(secrets, group)
        group.restart(before)
        group.wait_until_whole()


def _check_rights(secrets: Path, group: RedisGroup) -> None:
    hosts = ",".join(f"127.0.0.1:{each.public_port}" for each in group.sentinels)
    for folder, kind in (("api", Process.FRONT_END), ("worker", Process.WORKER), ("webhooks", Process.DELIVERER)):
        url = (secrets / folder / "redis_url").read_text()
        named = url.replace("10.0.0.21:26379,10.0.0.22:26379,10.0.0.23:26379", hosts)
        assert named != url
        check = ServerCheck(Settings.of(redis_url=named, redis_timeout_s=2).redis, kind)
        check.check()
        check.close()


def test_servers_and_sentinels_with_a_private_ca_are_used(tls_group: RedisGroup, authority: Authority) -> None:
    settings = _with_tls(tls_group, authority.file)
    for way in WAYS.values():
        way(settings)
    with sync_redis(settings.redis) as redis:
        _set_by_thread(tls_group, redis, tls_group.primary())
        after = tls_group.failover()
        follow_primary(settings.redis)
        _set_by_thread(tls_group, redis, after)
