"""What each process needs of Redis: the table in `shared/store/rights.py` is neither too short nor too long."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Set
from fnmatch import fnmatch
from pathlib import Path

import pytest
from redis import Redis

from local.broker import free_port
from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.store import key_names
from shared.store.durability import ServerCheck
from shared.store.key_names import KeyName
from shared.store.rights import Process, Rights
from testing.scripted_receiver import Receiver
from testing.servers import system_redis
from tests.integration.processes import running_processes

pytestmark = pytest.mark.slow

_PROCESSES = {"api": Process.FRONT_END, "worker": Process.WORKER, "webhooks": Process.DELIVERER}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "data").mkdir()
    with system_redis(tmp_path / "data") as url:
        yield url


@pytest.fixture
def admin(url: str) -> Iterator[Redis]:
    with Redis.from_url(url) as admin:
        yield admin


def _rules(rights: Rights) -> list[str]:
    """Exactly these rights, as rules of an ACL."""
    return [
        *(f"+{command.lower().replace(' ', '|')}" for command in rights.commands),
        *(f"%R~{_pattern(key)}" for key in rights.read),
        *(f"~{_pattern(key)}" for key in rights.written),
        *(f"&{channel}" for channel in rights.published | rights.subscribed),
    ]


def _pattern(key: str) -> str:
    return key.replace("unused", "*") if key != "maskq:unused" else key


def _add_user(admin: Redis, name: str, rules: list[str]) -> None:
    admin.execute_command("ACL", "SETUSER", name, "reset", "on", ">secret", *rules)


def _as(url: str, user: str) -> str:
    return url.replace("redis://", f"redis://{user}:secret@")


def test_a_process_with_exactly_these_rights_does_all_its_work(url: str, admin: Redis, tmp_path: Path) -> None:
    urls = {}
    for name, process in _PROCESSES.items():
        _add_user(admin, name, _rules(process.value))
        urls[name] = _as(url, name)
    allowed = {"MASKQ_URL_ALLOW_HTTP": "true", "MASKQ_URL_ALLOW_PRIVATE": "true", "MASKQ_RESULT_CACHE_S": "60"}
    receiver = Receiver()
    with receiver.listening(), running_processes(tmp_path, urls, **allowed) as processes:
        job_id = processes.submit(webhook_url=receiver.url).json()["id"]
        receiver.wait_for(1)
        cached = processes.submit(webhook_url=receiver.url)
        assert cached.json()["cached"], cached.text
        receiver.wait_for(2)
        slow = processes.submit(prompt="slow cat", idempotency_key="key").json()["id"]
        with processes.client() as client:
            assert client.post(f"/jobs/{job_id}/links").status_code == 200
            for path in ("/jobs", f"/jobs/{job_id}", f"/jobs/{job_id}/webhooks", "/models", "/metrics"):
                assert client.get(path).status_code == 200, path
            assert client.post(f"/jobs/{slow}/cancel").status_code in {200, 202, 404, 405}
            client.delete(f"/jobs/{slow}")
            client.post(f"/jobs/{job_id}/webhooks/redeliver")
        processes.until(lambda: admin.exists(key_names.DELIVERERS) == 1)
    refused = {(entry["reason"], entry["context"], entry["object"]) for entry in admin.acl_log()}
    assert {entry for entry in refused if entry[2] not in {"client|setinfo", "config|get"}} == set()


@pytest.mark.parametrize("process", Process)
def test_a_user_with_these_rights_is_accepted(url: str, admin: Redis, process: Process) -> None:
    _add_user(admin, "exact", _rules(process.value))
    _check(_as(url, "exact"), process)


def _check(url: str, process: Process) -> None:
    check = ServerCheck(Settings.of(redis_url=url).redis, process)
    try:
        check.check()
    finally:
        check.close()


@pytest.mark.parametrize("process", Process)
def test_each_missing_right_is_named(url: str, admin: Redis, process: Process) -> None:
    rules = _rules(process.value)
    for rule in rules:
        if rule in {"+info", "+evalsha", "+script|load"}:
            continue  # without these nothing can be checked; the server names them itself
        if any(fnmatch(rule, other) for other in rules if other != rule):
            continue  # a wider rule has it as well
        _add_user(admin, "lacking", [each for each in _rules(process.value) if each != rule])
        with pytest.raises(ConfigurationError) as refused:
            _check(_as(url, "lacking"), process)
        named = rule.removeprefix("%R").lstrip("+~&").replace("|", " ")
        assert named.lower() in refused.value.detail.lower(), rule


@pytest.mark.parametrize(
    ("program", "rule", "named"),
    [
        (["api", "--port", "{port}"], "resetchannels", "SUBSCRIBE maskq:changes"),
        (["testing.scripted_worker"], "resetchannels", "PUBLISH maskq:changes"),
        (["testing.scripted_worker"], "-brpop", "BRPOP"),
        (["webhooks"], "resetkeys", "writing _kombu.binding.*"),
        (["local.up", "--port", "{port}"], "resetchannels", "PUBLISH maskq:changes"),
    ],
)
def test_a_program_without_a_right_ends_and_names_it(
    root: Path, url: str, admin: Redis, program: list[str], rule: str, named: str
) -> None:
    _add_user(admin, "lacking", ["~*", "&*", "+@all", rule])
    ended = subprocess.run(
        [sys.executable, "-m", *(word.format(port=free_port()) for word in program)],
        cwd=root,
        env={**os.environ, "REDIS_URL": _as(url, "lacking")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == os.EX_CONFIG, ended.stderr
    assert named in ended.stderr.splitlines()[-1]
    assert "secret" not in ended.stderr


def test_every_key_is_in_the_rights_of_a_process() -> None:
    known: Set[str] = set().union(*(process.value.read | process.value.written for process in Process))
    for name, value in vars(key_names).items():
        if isinstance(value, KeyName):
            assert value(*["unused"] * len(value.values)) in known, name


def test_every_script_is_in_the_rights_of_a_process(root: Path) -> None:
    scripts = {path.stem for path in (root / "shared/store/scripts").glob("*.lua")} - {"common", "missing_rights"}
    lists = re.findall(r'scripts=((?:\s*"[\w ]+")+)', (root / "shared/store/rights.py").read_text("utf-8"))
    assert set(re.findall(r"\w+", " ".join(lists))) == scripts
