"""Arguments of scripts in Lua: named, typed, and the same on both sides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from redis import Redis

import shared.store
from shared.settings import Settings
from shared.store.lua_script import Argument, LuaScript, SyncScript, lua_source
from shared.store.retention import retention_arguments

_FOLDER = Path(shared.store.__file__).parent / "scripts"
_SCRIPTS = sorted(path.stem for path in _FOLDER.glob("*.lua") if path.stem != "common")
_RETENTION = set(retention_arguments(Settings.of().retention))
_CLAIM: dict[str, Argument] = {
    "model": "demo",
    "lease_ms": 30_000,
    "worker": "w",
    "nonce": "n",
    "is_repeated": False,
    "is_idle": True,
    "max_jobs": 4,
    "full_clients": [],
}


def test_arguments_are_passed_in_the_order_in_which_the_script_declares_them() -> None:
    script = LuaScript.load("claim")
    assert script.argv(_CLAIM) == ["demo", 30_000, "w", "n", 0, 1, 4]
    assert script.argv(dict(reversed(_CLAIM.items()))) == ["demo", 30_000, "w", "n", 0, 1, 4]
    assert script.source.endswith(
        "return flat(run({model = ARGV[1], lease_ms = tonumber(ARGV[2]), worker = present(ARGV[3]), nonce = ARGV[4], "
        "is_repeated = ARGV[5] == '1', is_idle = ARGV[6] == '1', max_jobs = tonumber(ARGV[7]), "
        "full_clients = elements_from(ARGV, 8)}))"
    )


def test_a_list_takes_all_remaining_places() -> None:
    script = LuaScript.load("claim")
    assert script.argv(_CLAIM) == ["demo", 30_000, "w", "n", 0, 1, 4]
    assert script.argv({**_CLAIM, "full_clients": ["a", "b"]}) == ["demo", 30_000, "w", "n", 0, 1, 4, "a", "b"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"model": "demo", "lease_ms": 30_000, "full_clients": []}, "is_idle"),  # missing
        ({**_CLAIM, "fence": 1}, "fence"),  # unknown
        ({"model": "demo", "lease_ms": 30_000, "idle": True, "full_clients": []}, "'idle', 'is_idle'"),  # wrong name
        ({**_CLAIM, "model": None}, "model must be string"),  # not optional
        ({**_CLAIM, "model": 1}, "model must be string"),
        ({**_CLAIM, "lease_ms": "30"}, "lease_ms must be number"),
        ({**_CLAIM, "lease_ms": True}, "lease_ms must be number"),
        ({**_CLAIM, "is_idle": 1}, "is_idle must be boolean"),
    ],
)
def test_wrong_arguments_are_refused_before_the_server_is_called(arguments: dict[str, Argument], named: str) -> None:
    with pytest.raises(TypeError, match=named):
        SyncScript(Redis(port=1), "claim")(**arguments)  # no server listens on this port


def test_an_unknown_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.store.lua_script.lua_source", lambda _: "---@param id uuid")
    with pytest.raises(KeyError, match="uuid"):
        _ = LuaScript.load("claim").source


@pytest.mark.parametrize("name", _SCRIPTS)
def test_only_the_last_argument_is_a_list(name: str) -> None:
    *types, _ = [parameter.type for parameter in LuaScript.load(name).parameters.values()]
    assert "string[]" not in types


@pytest.mark.parametrize("name", _SCRIPTS)
def test_a_script_reads_exactly_the_arguments_that_it_declares(name: str) -> None:
    """In Lua a wrong name is nil and no error."""
    source = lua_source(name)
    used = set(re.findall(r"\bargs\.(\w+)", source))
    if re.search(r"(end_job|cancel_job)\(.*\bargs\)", source):
        used |= _RETENTION
    assert used == set(LuaScript.load(name).parameters)


def test_common_functions_read_the_retention_that_python_passes() -> None:
    assert set(re.findall(r"\bretention\.(\w+)", lua_source("common"))) == _RETENTION


@pytest.mark.parametrize("name", [*_SCRIPTS, "common"])
def test_arguments_are_read_by_name_only(name: str) -> None:
    assert "ARGV" not in lua_source(name).replace("elements_from(ARGV", "")
