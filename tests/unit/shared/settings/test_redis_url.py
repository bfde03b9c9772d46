"""Which REDIS_URLs are accepted, and that a refusal shows no part of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigurationError
from shared.process.environment import load_settings
from shared.settings import Settings
from shared.settings.redis_url import Endpoint, RedisAddress, SentinelAccess
from tests.certificates import Authority

_SCHEME = "must begin with redis:// or rediss://, or for Sentinel with sentinel:// or sentinels://"
_HOST = "has no host, or a port that is not a number from 1 to 65535"
_OPTION = "has a ?, after which only ssl_ca_certs, ssl_certfile, ssl_keyfile may follow"
_SENTINEL_OPTION = "has a ?, after which only sentinel_password, sentinel_username, ssl_ca_certs"
_SERVICE = "must end with the name by which the sentinels know the service, and the number of a database"
_ALONE: dict[str, Any] = {"database": 0, "user": None, "password": None, "is_tls": False, "files": {}}
_VERIFIED = "the certificate and the host name of a server with TLS are always verified"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("hunter2", _SCHEME),
        ("hunter2@redis:6379/0", _SCHEME),
        ("redis:6379", _SCHEME),
        ("//:hunter2@redis:6379/0", _SCHEME),
        ("http://:hunter2@redis:6379/0", _SCHEME),
        ("unix://:hunter2@/run/redis.sock", f"{_SCHEME}; a Unix socket is not supported"),
        ("redis+socket:///run/hunter2.sock", f"{_SCHEME}; a Unix socket is not supported"),
        ("redis-sentinel://:hunter2@redis:26379/mymaster/0", _SCHEME),
        ("sentinel+ssl://:hunter2@redis:26379/mymaster/0", _SCHEME),
        ("valkey://:hunter2@redis:6379/0", f"{_SCHEME}; Valkey understands these as well"),
        ("valkeys://:hunter2@redis:6379/0", f"{_SCHEME}; Valkey understands these as well"),
        ("redis+cluster://:hunter2@redis:6379", f"{_SCHEME}; a cluster is not supported, name one server"),
        ("redis://:hunter2#@redis:6379/0", "has a # that is not written as %23"),
        ("redis://:hunter2%@redis:6379/0", "has a % that is not written as %25"),
        ("redis://:100%hunter2@redis:6379/0", "has a % that is not written as %25"),
        ("redis://:hunter2/x@redis:6379/0", _HOST),
        ("redis://:12/hunter2@redis:6379/0", _HOST),
        ("redis://:hunter2?x@redis:6379/0", _HOST),
        ("redis://maskq:12?hunter2@redis:6379/0", _HOST),
        ("redis://:hunter2@redis:0/0", _HOST),
        ("redis://:hunter2@redis:65536/0", _HOST),
        ("redis://:hunter2@redis:6379,other:6379/0", f"{_HOST}. Several hosts, comma-separated, are for sentinel"),
        ("redis://:hunter2@redis,other/0", f"{_HOST}. Several hosts, comma-separated, are for sentinel"),
        ("redis://:hunter2@/0", _HOST),
        ("redis://:hunter2@redis:6379/zero", "must end with the number of a database"),
        ("redis://:hunter2@redis:6379/0/1", "must end with the number of a database"),
        ("redis://:hunter2@redis:6379/-1", "must end with the number of a database"),
        ("redis://:hunter2@redis:6379/\uff10", "must end with the number of a database"),
        ("redis://:hunter2@redis:6379/0?timeout=3", _OPTION),
        ("redis://:hunter2@redis:6379?db=3", _OPTION),
        ("rediss://:hunter2@redis:6379/0?ssl_password=x", _OPTION),
        ("rediss://:hunter2@redis:6379/0?ssl_cert_reqs=none", _VERIFIED),
        ("rediss://:hunter2@redis:6379/0?ssl_cert_reqs=CERT_NONE", _VERIFIED),
        ("rediss://:hunter2@redis:6379/0?ssl_cert_reqs=optional", _VERIFIED),
        ("rediss://:hunter2@redis:6379/0?ssl_cert_reqs=", _VERIFIED),
        ("rediss://:hunter2@redis:6379/0?ssl%5Fcert_reqs=none", _VERIFIED),
        ("rediss://:hunter2@redis:6379/0?ssl_cert_reqs=required&ssl_cert_reqs=none", _VERIFIED),
        ("rediss://:hunter2@redis:6379/0?ssl_check_hostname=false", _VERIFIED),
        (
            "redis://:hunter2@redis:6379/0?ssl_cert_reqs=required",
            "has options for TLS and does not begin with rediss://",
        ),
        ("rediss://:hunter2@redis:6379/0?ssl_ca_certs=/nowhere", "has a file after ssl_ca_certs="),
        ("rediss://:hunter2@redis:6379/0?ssl_certfile=/nowhere", "has a file after ssl_ca_certs="),
        ("redis://:hunter2 @redis:6379/0", "has a space or a line break in it"),
        ("redis://:hun\nter2@redis:6379/0", "has a space or a line break in it"),
        ("redis://redis:6379/0?sentinel_password=hunter2", _OPTION),
        ("sentinel://:hunter2@redis:26379", _SERVICE),
        ("sentinel://:hunter2@redis:26379/", _SERVICE),
        ("sentinel://:hunter2@redis:26379/0", _SERVICE),
        ("sentinel://:hunter2@redis:26379//0", _SERVICE),
        ("sentinel://:hunter2@redis:26379/0/mymaster", _SERVICE),
        ("sentinel://:hunter2@redis:26379/my master/0", "has a space or a line break in it"),
        ("sentinel://:hunter2@redis:26379/my%20master/0", _SERVICE),
        ("sentinel://:hunter2@redis:26379/mymaster/zero", _SERVICE),
        ("sentinel://:hunter2@redis:26379/mymaster/0/1", _SERVICE),
        ("sentinel://:hunter2@redis:26379/mymaster/-1", _SERVICE),
        ("sentinel://:hunter2@redis:26379/mymaster#0", "has a # that is not written as %23"),
        ("sentinel://:hunter2@/mymaster/0", _HOST),
        ("sentinel://:hunter2@one:26379,/mymaster/0", _HOST),
        ("sentinel://:hunter2@one:26379,,two:26379/mymaster/0", _HOST),
        ("sentinel://:hunter2@one:26379,two:0/mymaster/0", _HOST),
        ("sentinel://:hunter2@one:26379,two:port/mymaster/0", _HOST),
        ("sentinel://:hunter2@::1:26379/mymaster/0", _HOST),
        ("sentinel://:hunter2@[::1:26379/mymaster/0", _HOST),
        ("sentinel://:hunter2@one:26379;sentinel://two:26379/mymaster/0", _HOST),
        ("sentinel://:hunt/er2@one:26379/mymaster/0", _HOST),
        ("sentinel://:hunt?er2@one:26379/mymaster/0", _HOST),
        ("sentinel://one:26379/mymaster/0?sentinel_password=hun@ter2", _HOST),
        ("sentinel://one:26379/mymaster/0?sentinel_password=100%hunter2", "has a % that is not written as %25"),
        ("sentinel://one:26379/mymaster/0?password=hunter2", "has a ?, after which only sentinel_password, sentinel_u"),
        ("sentinels://one:26379/mymaster/0?timeout=hunter2", _SENTINEL_OPTION),
        ("sentinels://:hunter2@one/mymaster?ssl_cert_reqs=none", _VERIFIED),
        ("sentinels://:hunter2@one/mymaster?ssl_ca_certs=/nowhere", "has a file after ssl_ca_certs="),
        ("sentinel://:hunter2@one/mymaster?ssl_cert_reqs=required", "has options for TLS and does not begin with"),
        ("sentinel://:hunter2@one/mymaster?ssl_ca_certs=/x", "has options for TLS and does not begin with"),
    ],
)
def test_a_wrong_url_is_refused_in_one_line_without_any_part_of_it(
    monkeypatch: pytest.MonkeyPatch, url: str, why: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert f"REDIS_URL: {why}" in refused.value.detail
    assert "hunter2" not in refused.value.detail
    assert "\n" not in refused.value.detail


def _one(host: str, port: int = 6379, database: int = 0, **more: Any) -> RedisAddress:
    return RedisAddress((Endpoint(host, port),), **{**_ALONE, "database": database, **more})


def _sentinels(*endpoints: tuple[str, int], service: str = "mymaster", **more: Any) -> RedisAddress:
    access = SentinelAccess(service, more.pop("sentinel_user", None), more.pop("sentinel_password", None))
    return RedisAddress(tuple(Endpoint(*each) for each in endpoints), sentinel=access, **{**_ALONE, **more})


def test_a_sentinel_that_is_named_twice_is_one_sentinel() -> None:
    address = RedisAddress.parse("sentinel://a,A:26379,b:26379,a/mymaster/0")
    assert address == _sentinels(("a", 26379), ("b", 26379))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://redis", _one("redis")),
        ("redis://redis/", _one("redis")),
        (" redis://redis:1/2\n", _one("redis", 1, 2)),
        ("REDISS://[::1]:7", _one("::1", 7, is_tls=True)),
        ("redis://maskq:a%23b%2Fc%25d%40@redis", _one("redis", user="maskq", password="a#b/c%d@")),
        ("redis://:p@ss;w+rd[1@redis", _one("redis", password="p@ss;w+rd[1")),
        ("rediss://redis?ssl_cert_reqs=required&ssl_check_hostname=true", _one("redis", is_tls=True)),
        ("sentinel://one/mymaster", _sentinels(("one", 26379))),
        ("sentinel://one/mymaster/", _sentinels(("one", 26379))),
        ("sentinel://one/mymaster/3", _sentinels(("one", 26379), database=3)),
        (
            "Sentinel://maskq:p,a%40s@one:1,TWO:2,three/my-ma.ster_1/0",
            _sentinels(
                ("one", 1), ("two", 2), ("three", 26379), service="my-ma.ster_1", user="maskq", password="p,a@s"
            ),
        ),
        (
            "sentinel://[::1]:1,[fe80::2]:2,[2001:db8::3]/mymaster/0",
            _sentinels(("::1", 1), ("fe80::2", 2), ("2001:db8::3", 26379)),
        ),
        ("sentinel://10.0.0.1:1,[::1]:2/mymaster/0", _sentinels(("10.0.0.1", 1), ("::1", 2))),
        ("sentinels://one,two/mymaster/0", _sentinels(("one", 26379), ("two", 26379), is_tls=True)),
        ("redis+sentinel://one/mymaster/0", _sentinels(("one", 26379))),
        ("rediss+sentinel://one/mymaster/0", _sentinels(("one", 26379), is_tls=True)),
        (
            "sentinel://:server@one/mymaster/0?sentinel_password=a+b%26%3D%40",
            _sentinels(("one", 26379), password="server", sentinel_password="a+b&=@"),
        ),
        (
            "sentinels://one/mymaster/0?sentinel_username=asks&sentinel_password=x=y&ssl_cert_reqs=required",
            _sentinels(("one", 26379), is_tls=True, sentinel_user="asks", sentinel_password="x=y"),
        ),
        ("sentinel://one/mymaster/0?sentinel_password=", _sentinels(("one", 26379))),
    ],
)
def test_a_right_url_has_these_parts(url: str, address: RedisAddress) -> None:
    assert RedisAddress.parse(Settings.of(redis_url=url).redis.redis_url) == address


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://maskq:hunter2@redis:6379/0", "redis:6379"),
        ("redis://:hunter2@[::1]:6379/0", "[::1]:6379"),
        (
            "sentinel://u:hunter2@one,[::1]:7/mymaster/0?sentinel_password=hunter2",
            "mymaster (sentinels one:26379, [::1]:7)",
        ),
    ],
)
def test_logs_say_where_the_server_is_without_a_password(url: str, place: str) -> None:
    address = RedisAddress.parse(url)
    assert address.place == place
    assert "hunter2" not in repr(address)


def test_files_for_tls_are_taken_from_the_url(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate = authority.certificate("client")
    files = f"ssl_ca_certs={authority.file}&ssl_certfile={certificate.file}&ssl_keyfile={certificate.key_file}"
    found = RedisAddress.parse(f"rediss://redis/0?{files}").files
    assert found == {
        "ssl_ca_certs": str(authority.file),
        "ssl_certfile": str(certificate.file),
        "ssl_keyfile": str(certificate.key_file),
    }


@pytest.mark.parametrize("content", [None, "", "not a certificate"])
def test_a_file_of_cas_must_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    monkeypatch.setenv("MASKQ_CA_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(ConfigurationError, match=r"MASKQ_CA_FILE=.*: must be a readable file with certificates as PEM"):
        load_settings()
