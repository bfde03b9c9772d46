"""The options after the `?` of REDIS_URL: files for TLS, and the login to sentinels. No message has a part of them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from urllib.parse import unquote

_FILES = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_LOGIN = frozenset({"sentinel_username", "sentinel_password"})
_VERIFYING = {"ssl_cert_reqs": {"required", "cert_required"}, "ssl_check_hostname": {"true", "1", "yes"}}
"""Options that other programs need in such a URL, and the values that say what is done anyway."""


def options_of(query: str, form: str, *, is_sentinel: bool, is_tls: bool) -> dict[str, str]:
    """The options by their names. A `+` is a `+`, because passwords have it.

    Args:
        form: what such a URL looks like, for messages.

    Raises:
        ValueError: one is unknown, or asks for less than verified TLS, or for TLS without it.
    """
    pairs = [each.partition("=")[::2] for each in query.split("&") if each]
    options = [(unquote(name), unquote(value)) for name, value in pairs]
    allowed = _FILES | (_LOGIN if is_sentinel else frozenset())
    for name, value in options:
        if name in _VERIFYING and value.lower() not in _VERIFYING[name]:
            raise ValueError("the certificate and the host name of a server with TLS are always verified. Trust a CA "
                             "of your own with MASKQ_CA_FILE")  # fmt: skip
        if name not in _VERIFYING and name not in allowed:
            raise ValueError(f"has a ?, after which only {', '.join(sorted(allowed))} may follow. {form}")
    if dict(options).keys() - _LOGIN and not is_tls:
        needed = "sentinels://" if is_sentinel else "rediss://"
        raise ValueError(f"has options for TLS and does not begin with {needed}")
    return {name: value for name, value in options if value}


def files_for_tls(options: Mapping[str, str]) -> dict[str, str]:
    """The files among the options.

    Raises:
        ValueError: one cannot be used.
    """
    files = {name: value for name, value in options.items() if name in _FILES}
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
