"""What is wrong with Sentinels, or with what REDIS_URL says of them, is said at the start of a process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local.broker import free_port
from shared.errors import ConfigurationError
from shared.process.redis_monitor import RedisMonitor
from shared.settings import Settings
from shared.store.rights import Process
from testing.redis_configuration import SERVICE, GroupOptions, TlsFiles
from testing.redis_group import RedisGroup
from testing.required import require_program
from tests.certificates import Authority

pytestmark = pytest.mark.slow

_RIGHT = "sentinel://:hunter2@{sentinels}/maskq/0?sentinel_password=hunter3"
_WRONG = {
    "no such service": (
        "sentinel://:hunter2@{sentinels}/other/0?sentinel_password=hunter3",
        "the sentinel at {sentinel} knows no service with this name",
    ),
    "no password of the sentinels": (
        "sentinel://:hunter2@{sentinels}/maskq/0",
        "the sentinel at {sentinel} needs a password of its own: end the URL with ?sentinel_password=PASSWORD",
    ),
    "a wrong password of the sentinels": (
        "sentinel://:hunter2@{sentinels}/maskq/0?sentinel_password=hunter4",
        "the sentinel at {sentinel} does not accept sentinel_username and sentinel_password (WRONGPASS)",
    ),
    "a user that the sentinels do not have": (
        "sentinel://:hunter2@{sentinels}/maskq/0?sentinel_username=nosuch&sentinel_password=hunter3",
        "the sentinel at {sentinel} does not accept sentinel_username and sentinel_password (WRONGPASS)",
    ),
    "a user who may not ask": (
        "sentinel://:hunter2@{sentinels}/maskq/0?sentinel_username=weak&sentinel_password=hunter3",
        "the sentinel at {sentinel} does not let this user ask for the primary",
    ),
    "servers named as sentinels": (
        "sentinel://{servers}/maskq/0?sentinel_password=hunter2",
        "the sentinel at {server} is no sentinel: begin the URL of a server with redis://",
    ),
    "a sentinel named as a server": (
        "redis://:hunter3@{sentinel}/0",
        "the server at {sentinel} does not know the commands of Redis: begin the URL of a sentinel with sentinel://",
    ),
    "TLS where there is none": (
        "sentinels://:hunter2@{sentinels}/maskq/0?sentinel_password=hunter3",
        "the sentinel at {sentinel} does not speak TLS: begin the URL with sentinel://",
    ),
    "a wrong password of the servers": (
        "sentinel://:hunter4@{sentinels}/maskq/0?sentinel_password=hunter3",
        "the server at {server} does not accept this user and password (WRONGPASS)",
    ),
    "no password of the servers": (
        "sentinel://{sentinels}/maskq/0?sentinel_password=hunter3",
        "the server at {server} needs a password",
    ),
    "a database that the servers do not have": (
        "sentinel://:hunter2@{sentinels}/maskq/99?sentinel_password=hunter3",
        "the server at {server} does not have the database",
    ),
}


@pytest.fixture(scope="module")
def guarded_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisGroup]:
    """With a password of the servers, another of the Sentinels, and a user of these without rights."""
    weak = "user weak on >hunter3 -@all"
    options = GroupOptions(password="hunter2", sentinel_password="hunter3", sentinel_lines=[weak])
    with RedisGroup(tmp_path_factory.mktemp("guarded") / "redis", options) as group:
        yield group


def _names(group: RedisGroup) -> dict[str, str]:
    sentinels, servers = (
        [f"127.0.0.1:{each.public_port}" for each in kind] for kind in (group.sentinels, group.servers)
    )
    return {
        "sentinels": ",".join(sentinels),
        "servers": ",".join(servers),
        "sentinel": sentinels[0],
        "server": servers[0],
    }


def _is_there(url: str, ca_file: Path | None = None) -> bool:
    settings = Settings.of(redis_url=url, ca_file=ca_file, redis_timeout_s=2)
    return RedisMonitor(settings.redis, Process.WORKER).is_there()


@pytest.mark.parametrize("wrong", _WRONG)
def test_what_only_the_operator_can_change_ends_the_process(guarded_group: RedisGroup, wrong: str) -> None:
    names = _names(guarded_group)
    assert _is_there(_RIGHT.format(**names))
    url, why = (text.format(**names) for text in _WRONG[wrong])
    with pytest.raises(ConfigurationError) as refused:
        _is_there(url)
    assert refused.value.detail.startswith(f"REDIS_URL: {why}")
    assert "hunter" not in refused.value.detail
    assert "\n" not in refused.value.detail


def test_sentinels_without_a_password_say_that_they_need_none(redis_group: RedisGroup) -> None:
    with pytest.raises(ConfigurationError, match="needs no password: leave sentinel_password out"):
        _is_there(f"{redis_group.url}?sentinel_password=hunter2")


def test_it_is_waited_for_sentinels_that_do_not_answer(caplog: pytest.LogCaptureFixture) -> None:
    ports = [free_port() for _ in range(3)]
    hosts = [f"127.0.0.1:{port}" for port in ports]
    assert not _is_there(f"sentinel://:hunter2@{','.join(hosts)}/maskq/0?sentinel_password=hunter3")
    where = f"waiting for Redis at maskq (sentinels {', '.join(hosts)})"
    assert f"{where}: no sentinel names the primary: Connection refused" in caplog.text
    assert "hunter" not in caplog.text


def test_it_is_waited_for_a_primary_that_does_not_answer(
    redis_group: RedisGroup, caplog: pytest.LogCaptureFixture
) -> None:
    primary = redis_group.primary()
    for server in redis_group.servers:
        redis_group.kill(server)
    assert not _is_there(redis_group.url)
    host, port = primary.address
    assert f": the primary at {host}:{port}: " in caplog.text


def test_one_sentinel_that_answers_is_enough(guarded_group: RedisGroup) -> None:
    names = _names(guarded_group)
    names["sentinels"] = f"127.0.0.1:{free_port()},nosuch.invalid,{names['sentinel']}"
    assert _is_there(_RIGHT.format(**names))


def test_the_trust_in_servers_and_sentinels_with_tls_is_explained(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    files = TlsFiles(authority.file, *authority.certificate("127.0.0.1"))
    options = GroupOptions(require_program("redis-server"), tls=files)
    with RedisGroup(tmp_path / "redis", options) as group:
        names = _names(group)
        url, sentinel = f"sentinels://{names['sentinels']}/{SERVICE}/0", f"the sentinel at {names['sentinel']}"
        assert _is_there(url, authority.file)
        with pytest.raises(
            ConfigurationError, match=f"{sentinel} cannot be trusted, certificate not trusted: it is not"
        ):
            _is_there(url)
        with pytest.raises(ConfigurationError, match=f"{sentinel} speaks TLS only: begin the URL with sentinels://"):
            _is_there(url.replace("sentinels://", "sentinel://"))
