"""The form of REDIS_URL: what is allowed in it, and its parts. No message has a part of the URL in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple, Self
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator

from shared.settings.redis_url_options import files_for_tls, options_of

_PLAIN, _TLS = "redis", "rediss"
_SENTINEL, _SENTINEL_TLS = "sentinel", "sentinels"
_SAME = {"redis+sentinel": _SENTINEL, "rediss+sentinel": _SENTINEL_TLS}
"""What other programs call them."""
_SCHEMES = frozenset({_PLAIN, _TLS, _SENTINEL, _SENTINEL_TLS})
_WRONG_SCHEME = "must begin with redis:// or rediss://, or for Sentinel with sentinel:// or sentinels://"
_HINTS = (
    ("unix", "a Unix socket is not supported"),
    ("cluster", "a cluster is not supported, name one server"),
    ("socket", "a Unix socket is not supported"),
    ("valkey", "Valkey understands these as well"),
)
_IN_PASSWORDS = "in a password, write # as %23, / as %2F, ? as %3F, @ as %40, % as %25"
_FORM = f"The form is redis://USER:PASSWORD@HOST:PORT/DATABASE; {_IN_PASSWORDS}"
_SENTINEL_FORM = f"The form is sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/SERVICE/DATABASE; {_IN_PASSWORDS}"
_PORT, _SENTINEL_PORT = 6379, 26379


class Endpoint(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True)
class SentinelAccess:
    """What sentinels are asked for, and how they are logged in to."""

    service: str
    user: str | None
    password: str | None = field(repr=False)


@dataclass(frozen=True)
class RedisAddress:
    """Where the server is, who connects, and how: the parts of a URL that was accepted."""

    endpoints: tuple[Endpoint, ...]
    """One server; or the sentinels that know it."""
    database: int
    user: str | None
    password: str | None = field(repr=False)
    is_tls: bool
    files: Mapping[str, str]
    """Files for TLS by the names that redis-py has for them: `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`."""
    sentinel: SentinelAccess | None = None
    """None: `endpoints` is the server."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """The parts of a URL.

        Raises:
            ValueError: it is not allowed. The message says why, without any part of it.
        """
        scheme = _scheme(url)
        is_sentinel, is_tls = scheme.startswith(_SENTINEL), scheme in {_TLS, _SENTINEL_TLS}
        form = _SENTINEL_FORM if is_sentinel else _FORM
        _require_escaped(url, form)
        server, path, query = _split(url.partition("://")[2], form)
        login, _, hosts = server.rpartition("@")
        user, password = (unquote(part) or None for part in login.partition(":")[::2])
        endpoints = _endpoints(hosts, form, is_sentinel=is_sentinel)
        service, database = _service_and_database(path, form) if is_sentinel else ("", _database(path, form))
        options = options_of(query, form, is_sentinel=is_sentinel, is_tls=is_tls)
        access = SentinelAccess(service, options.get("sentinel_username"), options.get("sentinel_password"))
        files = files_for_tls(options)
        return cls(endpoints, database, user, password, is_tls, files, access if is_sentinel else None)

    @property
    def place(self) -> str:
        """Where the server is, for logs: without users and passwords."""
        endpoints = ", ".join(map(str, self.endpoints))
        return f"{self.sentinel.service} (sentinels {endpoints})" if self.sentinel else endpoints

    @property
    def ledger(self) -> str:
        """The same for every process that uses this database, whoever connects: before a failover and after it."""
        server = ",".join(sorted(map(str, self.endpoints)))
        return f"{f'{self.sentinel.service}@' if self.sentinel else ''}{server}/{self.database}"

    def scheme(self, *, is_tls: bool) -> str:
        """How the URL of this server would begin, with TLS or without."""
        plain, tls = (_SENTINEL, _SENTINEL_TLS) if self.sentinel else (_PLAIN, _TLS)
        return f"{tls if is_tls else plain}://"


def _scheme(url: str) -> str:
    """One of `_SCHEMES`."""
    written, separator, _ = url.partition("://")
    scheme = _SAME.get(written.lower(), written.lower())
    if not separator or scheme not in _SCHEMES:
        hints = [hint for word, hint in _HINTS if separator and word in scheme]
        raise ValueError("; ".join([_WRONG_SCHEME, *hints[:1]]))
    return scheme


def _require_escaped(url: str, form: str) -> None:
    if re.search(r"\s|[\x00-\x1f\x7f]", url):
        raise ValueError(f"has a space or a line break in it. {form}")
    if "#" in url:
        raise ValueError(f"has a # that is not written as %23. {form}")
    if re.search(r"%(?![0-9a-fA-F]{2})", url):
        raise ValueError(f"has a % that is not written as %25. {form}")


def _split(rest: str, form: str) -> tuple[str, str, str]:
    """The parts of a URL after its scheme: login and hosts, path, and options."""
    before, _, query = rest.partition("?")
    access, slash, path = before.partition("/")
    if "@" in path + query:
        raise _wrong_host(form)
    return access, slash + path, query


def _endpoints(hosts: str, form: str, *, is_sentinel: bool) -> tuple[Endpoint, ...]:
    """Each once: a majority is of different sentinels."""
    if "," in hosts and not is_sentinel:
        raise _wrong_host(f"Several hosts, comma-separated, are for sentinel://. {form}")
    port = _SENTINEL_PORT if is_sentinel else _PORT
    return tuple(dict.fromkeys(_endpoint(host, port, form) for host in hosts.split(",")))


def _endpoint(text: str, port: int, form: str) -> Endpoint:
    try:
        parts = urlsplit(f"//{text}")
        is_wrong = parts.port == 0 or not parts.hostname  # reading the port of `host:notaport` raises as well
    except ValueError:
        is_wrong = True
    if is_wrong:
        raise _wrong_host(form)
    return Endpoint(str(parts.hostname), parts.port or port)


def _wrong_host(form: str) -> ValueError:
    return ValueError(f"has no host, or a port that is not a number from 1 to 65535. {form}")


def _database(path: str, form: str) -> int:
    if not re.fullmatch(r"/?|/[0-9]{1,9}", path):
        raise ValueError(f"must end with the number of a database, such as /0. {form}")
    return int(path.strip("/") or 0)


def _service_and_database(path: str, form: str) -> tuple[str, int]:
    """A service's name has the characters that Sentinel allows, and is no number: that would be a database."""
    found = re.fullmatch(r"/([\w.-]+)(/\d{0,9})?", path, re.ASCII)
    if not found or found[1].isdigit():
        raise ValueError(
            "must end with the name by which the sentinels know the service, and the number of a database, "
            f"such as /mymaster/0. {form}"
        )
    return found[1], _database(found[2] or "", form)


def _normalized(value: str) -> str:
    """The URL, with its scheme in lower case and as we write it."""
    url = value.strip()
    RedisAddress.parse(url)
    return f"{_scheme(url)}://{url.partition('://')[2]}"


RedisUrl = Annotated[str, AfterValidator(_normalized)]
