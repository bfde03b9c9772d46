"""The hosts that a service without API keys answers to."""

from __future__ import annotations

import pytest

from api.http.same_origin import KnownHosts


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost:8000", "localhost.", "127.0.0.1", "127.8.9.1:80", "[::1]:8000"]
)
@pytest.mark.parametrize("is_local", [True, False])
def test_this_machine_is_known(host: str, is_local: bool) -> None:
    assert host in KnownHosts("", "", is_local=is_local)


@pytest.mark.parametrize(
    "host",
    [
        *("attacker.example", "attacker.example:8000", "localhost.attacker.example", "127.0.0.1.attacker.example"),
        *("notlocalhost", "x", "api", "", ":8000", "localhost@attacker.example", "attacker.example@localhost.x", "%6c"),
        *("localhost:8000.attacker.example", "localhost, attacker.example", "0x7f000001", "2130706433", "[::1", "*"),
        *("localhost/../attacker", "localhost#", "a.example\\.localhost", "localhost:x@y"),
    ],
)
@pytest.mark.parametrize("is_local", [True, False])
def test_other_names_are_unknown(host: str, is_local: bool) -> None:
    assert host not in KnownHosts("", "", is_local=is_local)


@pytest.mark.parametrize("host", ["10.1.2.3:8000", "203.0.113.9", "[2001:db8::1]:8000", "0.0.0.0"])
def test_addresses_are_known_where_other_machines_can_connect(host: str) -> None:
    assert host in KnownHosts("", "", is_local=False)
    assert host not in KnownHosts("", "", is_local=True)


@pytest.mark.parametrize("host", ["a.example", "A.example:8443", "api", "b.example:1", "localhost"])
def test_names_of_the_settings_are_known(host: str) -> None:
    assert host in KnownHosts("https://A.example:8443/maskq", "api, B.example", is_local=True)


def test_a_star_allows_all() -> None:
    assert "attacker.example" in KnownHosts("", "*", is_local=True)
