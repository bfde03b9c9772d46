"""Which REDIS_URLs are accepted, and that a refusal shows no part of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.errors import ConfigurationError
from shared.process.environment import load_settings
from shared.settings import Settings
from shared.settings.redis_url import RedisAddress
from tests.certificates import Authority

_SCHEME = "must begin with redis:// or rediss://"
_HOST = "has no host, or a port that is not a number from 1 to 65535"
_OPTION = "has a ?, after which only ssl_ca_certs, ssl_certfile, ssl_keyfile may follow"
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
        ("sentinel://:hunter2@redis:26379/0", f"{_SCHEME}; Sentinel is not supported, name the primary"),
        ("redis+sentinel://:hunter2@redis:26379/mymaster/0", f"{_SCHEME}; Sentinel is not supported"),
        ("redis+cluster://:hunter2@redis:6379", f"{_SCHEME}; a cluster is not supported, name one server"),
        ("redis://:hunter2#@redis:6379/0", "has a # that is not written as %23"),
        ("redis://:hunter2%@redis:6379/0", "has a % that is not written as %25"),
        ("redis://:100%hunter2@redis:6379/0", "has a % that is not written as %25"),
        ("redis://:hunter2/x@redis:6379/0", _HOST),
        ("redis://:12/hunter2@redis:6379/0", _HOST),
        ("redis://:hunter2?x@redis:6379/0", _HOST),
        ("redis://maskq:12?hunter2@redis:6379/0", _HOST),
        ("redis://:hunter2[@redis:6379/0", _HOST),
        ("redis://:hunter2@redis:0/0", _HOST),
        ("redis://:hunter2@redis:65536/0", _HOST),
        ("redis://:hunter2@redis:6379,other:6379/0", _HOST),
        ("redis://:hunter2@/0", _HOST),
        ("redis://:hunter2@redis:6379/zero", "must end with the number of a database"),
        ("redis://:hunter2@redis:6379/0/1", "must end with the number of a database"),
        ("redis://:hunter2@redis:6379/-1", "must end with the number of a database"),
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


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://redis", RedisAddress("redis", 6379, 0, None, None, is_tls=False, files={})),
        ("redis://redis/", RedisAddress("redis", 6379, 0, None, None, is_tls=False, files={})),
        (" redis://redis:1/2\n", RedisAddress("redis", 1, 2, None, None, is_tls=False, files={})),
        ("valkey://redis:1/2", RedisAddress("redis", 1, 2, None, None, is_tls=False, files={})),
        ("valkeys://redis:1/2", RedisAddress("redis", 1, 2, None, None, is_tls=True, files={})),
        ("REDISS://[::1]:7", RedisAddress("::1", 7, 0, None, None, is_tls=True, files={})),
        ("redis://maskq:a%23b%2Fc%25d%40@redis", RedisAddress("redis", 6379, 0, "maskq", "a#b/c%d@", False, {})),
        ("redis://:p@ss;w+rd@redis", RedisAddress("redis", 6379, 0, None, "p@ss;w+rd", is_tls=False, files={})),
        (
            "rediss://redis?ssl_cert_reqs=required&ssl_check_hostname=true",
            RedisAddress("redis", 6379, 0, None, None, is_tls=True, files={}),
        ),
    ],
)
def test_a_right_url_has_these_parts(url: str, address: RedisAddress) -> None:
    assert RedisAddress.parse(Settings.of(redis_url=url).redis.redis_url) == address


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
