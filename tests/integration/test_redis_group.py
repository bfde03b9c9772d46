"""The group of servers and Sentinels that other tests use: each fault does what it says, and ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ReadOnlyError, RedisError

from testing.redis_configuration import SERVICE, GroupOptions, TlsFiles
from testing.redis_group import NEVER, RedisGroup
from testing.redis_process import RedisProcess
from testing.required import require_program
from tests.certificates import Authority

pytestmark = pytest.mark.slow


def _as_client(process: RedisProcess) -> Redis:
    """A connection through the proxy."""
    host, port = process.address
    return Redis(host=host, port=port, decode_responses=True, socket_timeout=1, retry=NEVER)


def _value(group: RedisGroup, server: RedisProcess) -> str | None:
    with group.client(server) as redis:
        value: str | None = redis.get("key")
        return value


def _wait_until_all_have(group: RedisGroup, value: str | None) -> None:
    group.wait_for(lambda: [_value(group, each) for each in group.servers] == [value] * 3, f"{value} everywhere")


def _set(group: RedisGroup, value: str) -> None:
    with _as_client(group.primary()) as redis:
        redis.set("key", value)
        redis.wait(2, 5000)


_FAULTS: dict[str, Callable[[RedisGroup, RedisProcess], None]] = {
    "kill": lambda group, server: group.kill(server),
    "freeze": lambda group, server: group.freeze(server),
    "cut_off": lambda group, server: group.cut_off(server, clients=True),
}
_ENDS: dict[str, Callable[[RedisGroup, RedisProcess], None]] = {
    "kill": lambda group, server: group.restart(server),
    "freeze": lambda group, server: group.thaw(server),
    "cut_off": lambda group, server: group.join(server),
}


@pytest.mark.parametrize("fault", _FAULTS)
def test_another_server_is_primary_after_a_fault_and_the_old_one_follows_it(
    redis_group: RedisGroup, fault: str
) -> None:
    _set(redis_group, "before")
    old = redis_group.primary()
    _FAULTS[fault](redis_group, old)
    with pytest.raises(RedisError), _as_client(old) as redis:
        redis.ping()
    new = redis_group.wait_for_failover(old)
    assert new is redis_group.primary() is not old
    with _as_client(new) as redis:
        redis.set("key", "after")
    _ENDS[fault](redis_group, old)
    redis_group.wait_until_whole()
    _wait_until_all_have(redis_group, "after")
    assert old in redis_group.replicas()


def test_a_primary_that_is_cut_off_from_the_others_still_takes_what_clients_write_and_loses_it(
    redis_group: RedisGroup,
) -> None:
    _set(redis_group, "before")
    old = redis_group.primary()
    redis_group.cut_off(old)
    with _as_client(old) as redis:
        redis.set("key", "unknown to the others")
        assert redis.wait(1, 200) == 0
        new = redis_group.wait_for_failover(old)
        assert redis.get("key") == "unknown to the others"
    assert _value(redis_group, new) == "before"
    redis_group.join(old)
    redis_group.wait_until_whole()
    _wait_until_all_have(redis_group, "before")


def test_a_cut_from_replicas_alone_leads_to_no_failover_and_ends(redis_group: RedisGroup) -> None:
    _set(redis_group, "before")
    primary = redis_group.primary()
    redis_group.cut_off(primary, sentinels=False)
    with _as_client(primary) as redis:
        redis.set("key", "after")
        assert redis.wait(1, 200) == 0
        redis_group.join(primary)
        assert redis.wait(2, 30_000) == 2
    assert redis_group.primary() is primary
    _wait_until_all_have(redis_group, "after")


@pytest.mark.parametrize("is_primary", [True, False])
def test_a_wiped_server_comes_back_empty_and_gets_all_from_the_others(
    redis_group: RedisGroup, is_primary: bool
) -> None:
    _set(redis_group, "kept")
    server = redis_group.primary() if is_primary else redis_group.replicas()[0]
    redis_group.wipe(server)
    redis_group.wait_until_whole()
    assert server in redis_group.replicas()
    _wait_until_all_have(redis_group, "kept")


def test_a_planned_failover_loses_nothing(redis_group: RedisGroup) -> None:
    _set(redis_group, "kept")
    old = redis_group.primary()
    new = redis_group.failover()
    redis_group.wait_until_whole()
    assert redis_group.primary() is new is not old
    _wait_until_all_have(redis_group, "kept")
    with pytest.raises(ReadOnlyError), _as_client(old) as redis:
        redis.set("key", "at a replica")


def test_two_sentinels_of_three_replace_a_primary_and_one_does_not(redis_group: RedisGroup) -> None:
    first, second, _ = redis_group.sentinels
    old = redis_group.primary()
    redis_group.kill(first)
    redis_group.kill(old)
    redis_group.wait_for_failover(old)
    redis_group.restart(old)
    redis_group.kill(second)
    redis_group.freeze(primary := redis_group.primary())
    with pytest.raises(TimeoutError):
        redis_group.wait_for_failover(primary, max_s=4)
    redis_group.restart(first)
    redis_group.wait_for_failover(primary)
    redis_group.restart(second)
    redis_group.thaw(primary)
    redis_group.wait_until_whole()


def test_with_a_password_and_tls_the_url_and_the_connections_have_them(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    files = TlsFiles(authority.file, *authority.certificate("127.0.0.1"))
    program = require_program("redis-server")
    options = GroupOptions(program, password="a-secret", sentinel_password="another", tls=files)
    with RedisGroup(tmp_path / "redis", options) as group:
        assert group.url.startswith("sentinels://:a-secret@127.0.0.1:")
        assert group.url.endswith(f"/{SERVICE}/0?sentinel_password=another")
        old = group.primary()
        group.kill(old)
        group.wait_for_failover(old)
        group.restart(old)
        group.wait_until_whole()
        with pytest.raises(RedisError), _as_client(old) as redis:
            redis.ping()


def test_a_primary_without_replicas_takes_no_writes_if_it_needs_one(tmp_path: Path) -> None:
    options = GroupOptions(min_replicas_to_write=1, min_replicas_max_lag_s=1)
    with RedisGroup(tmp_path / "redis", options) as group:
        _set(group, "before")
        primary = group.primary()
        group.cut_off(primary)

        group.wait_for(lambda: _is_refused(group, primary), "a refusal")
        group.join(primary)
        group.wait_until_whole()


def _is_refused(group: RedisGroup, server: RedisProcess) -> bool:
    with group.client(server) as redis:
        try:
            redis.set("key", "after")
        except RedisError as error:
            return "NOREPLICAS" in str(error)
    return False
