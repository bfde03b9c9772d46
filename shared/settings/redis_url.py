"""The form of REDIS_URL: what is allowed in it, and its parts. No message has a part of the URL in it."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from pydantic import AfterValidator

_SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss"}
"""The schemes that are understood, and what clients of Redis call them."""
_HINTS = (
    ("unix", "a Unix socket is not supported"),
    ("sentinel", "Sentinel is not supported, name the primary"),
    ("cluster", "a cluster is not supported, name one server"),
    ("socket", "a Unix socket is not supported"),
)
_FILES = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_VERIFYING = {"ssl_cert_reqs": {"required", "cert_required"}, "ssl_check_hostname": {"true", "1", "yes"}}
"""Options that other programs need in such a URL, and the values that say what is done anyway."""
_FORM = (
    "The form is redis://USER:PASSWORD@HOST:PORT/DATABASE; in a password, write # as %23, / as %2F, ? as %3F, @ as %40"
    ", % as %25"
)


@dataclass(frozen=True)
class RedisAddress:
    """Where the server is, who connects, and how: the parts of a URL that was accepted."""

    host: str
    port: int
    database: int
    user: str | None
    password: str | None = field(repr=False)
    is_tls: bool
    files: Mapping[str, str]
    """Files for TLS by the names that redis-py has for them: `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """The parts of a URL.

        Raises:
            ValueError: it is not allowed. The message says why, without any part of it.
        """
        scheme = _scheme(url)
        if re.search(r"\s|[\x00-\x1f\x7f]", url):
            raise ValueError(f"has a space or a line break in it. {_FORM}")
        if "#" in url:
            raise ValueError(f"has a # that is not written as %23. {_FORM}")
        if re.search(r"%(?![0-9a-fA-F]{2})", url):
            raise ValueError(f"has a % that is not written as %25. {_FORM}")
        parts = _split(url)
        if not re.fullmatch(r"/?|/\d{1,9}", parts.path):
            raise ValueError(f"must end with the number of a database, such as /0. {_FORM}")
        user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
        is_tls = scheme == "rediss"
        files = _files(parts.query, is_tls=is_tls)
        database = int(parts.path.strip("/") or 0)
        return cls(str(parts.hostname), parts.port or 6379, database, user, password, is_tls, files)


def _scheme(url: str) -> str:
    """`redis` or `rediss`."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        hints = [hint for word, hint in _HINTS if separator and word in scheme.lower()]
        raise ValueError("; ".join(["must begin with redis:// or rediss://", *hints[:1]]))
    return _SCHEMES[scheme.lower()]


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_wrong = parts.port == 0 or not parts.hostname  # reading the port of `host:notaport` raises as well
    except ValueError:
        is_wrong = True
    if is_wrong or "@" in parts.path + parts.query:
        raise ValueError(f"has no host, or a port that is not a number from 1 to 65535. {_FORM}")
    return parts


def _files(query: str, *, is_tls: bool) -> dict[str, str]:
    """The options after the `?`.

    Raises:
        ValueError: one is unknown, asks for less than verified TLS, or names a file that cannot be used.
    """
    options = parse_qsl(query, keep_blank_values=True)
    for name, value in options:
        if name in _VERIFYING and value.lower() not in _VERIFYING[name]:
            raise ValueError("the certificate and the host name of a server with TLS are always verified. Trust a CA "
                             "of your own with MASKQ_CA_FILE")  # fmt: skip
        if name not in _VERIFYING and name not in _FILES:
            allowed = ", ".join(sorted(_FILES))
            raise ValueError(f"has a ?, after which only {allowed} may follow. {_FORM}")
    if options and not is_tls:
        raise ValueError("has options for TLS and does not begin with rediss://")
    files = {name: value for name, value in options if name in _FILES}
    _require_usable(files)
    return files


def _require_usable(files: Mapping[str, str]) -> None:
    context = ssl.create_default_context() if files else None
    try:
        if context and "ssl_ca_certs" in files:
            context.load_verify_locations(files["ssl_ca_certs"])
        if context and files.keys() & {"ssl_certfile", "ssl_keyfile"}:
            context.load_cert_chain(files.get("ssl_certfile", ""), files.get("ssl_keyfile"), password=lambda: "")
    except (OSError, ValueError):
        raise ValueError("has a file after ssl_ca_certs=, ssl_certfile= or ssl_keyfile= that cannot be used: it must "
                         "be readable and PEM, a key without a password") from None  # fmt: skip


def _normalized(value: str) -> str:
    """The URL, with the scheme as clients of Redis write it."""
    url = value.strip()
    RedisAddress.parse(url)
    return f"{_scheme(url)}://{url.partition('://')[2]}"


RedisUrl = Annotated[str, AfterValidator(_normalized)]
