"""What a process says of its server when it meets it, and which servers cannot confirm anything."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from redis import Redis

from local.broker import free_port, wait_for_server
from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.store.connection import address_of
from shared.store.durability import ServerCheck
from shared.store.rights import Process
from testing.replication import ReplicatedServers
from testing.required import require_program


def _said(caplog: pytest.LogCaptureFixture, url: str, confirm_replicas: int, process: Process) -> list[str]:
    """What a process logs at its start. Checks that it says it once."""
    caplog.clear()
    settings = Settings.of(redis_url=url, confirm_replicas=confirm_replicas)
    with caplog.at_level(logging.INFO), closing(ServerCheck(settings.redis, process)) as check:
        check.check()
        prefix = f"Redis at {address_of(settings.redis)}: "
        said = [record.getMessage().removeprefix(prefix) for record in caplog.records]
        check.check()
    assert len(caplog.records) == len(said)
    return said


def test_a_process_says_what_its_server_promises(
    caplog: pytest.LogCaptureFixture, replicated_servers: ReplicatedServers
) -> None:
    url = replicated_servers.primary_url
    with Redis.from_url(url) as redis:
        is_old = "valkey_version" not in redis.info("server")
        redis.config_set("appendfsync", "always")
        disk = "what it accepts is on its disk (appendfsync always), "
        forgetful, guard, unconfirmed = _said(caplog, url, 0, Process.WORKER)
        assert forgetful == (
            f"{disk}and a failover may forget the latest (MASKQ_CONFIRM_REPLICAS is 0); 1 replica is connected"
        )
        assert guard.startswith("min-replicas-to-write is 0: ")
        assert "Set it to 1" in guard
        assert unconfirmed.startswith("MASKQ_CONFIRM_REPLICAS is 0 and 1 replica is connected: ")
        redis.config_set("min-replicas-to-write", "1")
        where = "in the memory of 1 replica (WAIT)" if is_old else "on the disks of 1 replica (WAITAOF)"
        for process in Process:
            assert _said(caplog, url, 1, process) == [f"{disk}and {where}; 1 replica is connected"]
        *_, guard, missing = _said(caplog, url, 2, Process.FRONT_END)
        assert "Set it to 2" in guard
        assert missing.startswith("MASKQ_CONFIRM_REPLICAS is 2 and 1 replica is connected: ")


def test_a_lag_of_0_counts_as_no_requirement_of_replicas(
    caplog: pytest.LogCaptureFixture, replicated_servers: ReplicatedServers
) -> None:
    with Redis.from_url(replicated_servers.primary_url) as redis:
        redis.config_set("min-replicas-to-write", "1")
        redis.config_set("min-replicas-max-lag", "0")
    assert len(_said(caplog, replicated_servers.primary_url, 1, Process.WORKER)) == 2


def test_a_single_server_is_not_told_to_require_replicas(caplog: pytest.LogCaptureFixture, any_server: str) -> None:
    (promise,) = _said(caplog, any_server, 0, Process.WORKER)
    assert promise.endswith("0 replicas are connected")


def test_a_server_that_hides_its_configuration_is_asked_for_what_else_shows_it(
    caplog: pytest.LogCaptureFixture, replicated_servers: ReplicatedServers
) -> None:
    url = replicated_servers.primary_url
    with Redis.from_url(url) as admin:
        admin.config_set("min-replicas-to-write", "1")
        admin.execute_command("ACL", "SETUSER", "maskq", "on", ">secret", "~*", "&*", "+@all", "-config")
    hidden, promise = _said(caplog, url.replace("redis://", "redis://maskq:secret@"), 1, Process.WORKER)
    assert hidden.startswith("the server hides its configuration")
    assert "appendfsync is hidden" in promise


@contextmanager
def _server_without(folder: Path, *commands: str) -> Iterator[str]:
    """A server of a version or a service that does not have these commands."""
    port = free_port()
    renamed = [word for command in commands for word in ("--rename-command", command, "")]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes", "--save", ""]
    program = require_program("redis-server")
    with subprocess.Popen([program, *options, *renamed], stdout=subprocess.DEVNULL) as process:
        url = f"redis://127.0.0.1:{port}/0"
        try:
            wait_for_server(url)
            yield url
        finally:
            process.terminate()


def test_a_server_that_cannot_wait_for_replicas_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with _server_without(tmp_path, "WAIT") as url:
        with pytest.raises(ConfigurationError, match="no command WAIT: MASKQ_CONFIRM_REPLICAS must be 0"):
            _said(caplog, url, 1, Process.FRONT_END)
        assert len(_said(caplog, url, 0, Process.FRONT_END)) == 1


@pytest.mark.parametrize("process", Process)
@pytest.mark.parametrize("rule", ["-wait", "-waitaof -wait", "resetkeys ~maskq:unused"])
def test_a_user_that_may_not_wait_is_refused(
    replicated_servers: ReplicatedServers, rule: str, process: Process
) -> None:
    url = replicated_servers.primary_url
    with Redis.from_url(url) as admin:
        if "waitaof" in rule and "valkey_version" not in admin.info("server"):
            rule = "-wait"
        admin.execute_command("ACL", "SETUSER", "maskq", "on", ">secret", "~*", "&*", "+@all", *rule.split())
        settings = Settings.of(redis_url=url.replace("redis://", "redis://maskq:secret@"), confirm_replicas=1)
        if rule == "-wait" and "valkey_version" in admin.info("server"):
            return  # WAITAOF is enough
    with closing(ServerCheck(settings.redis, process)) as check, pytest.raises(ConfigurationError) as refused:
        check.check()
    assert "wait" in refused.value.detail.lower() or "maskq:" in refused.value.detail
