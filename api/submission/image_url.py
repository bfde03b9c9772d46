"""URLs as people send them: with letters of any language, with spaces, or no URLs of the Web at all."""

from __future__ import annotations

import re
import string

import idna

from shared.outbound import MAX_URL_CHARS

_PARTS = re.compile(r"([a-z][a-z0-9+.-]*://)([^/?#\\]*)(.*)", re.I | re.S)
"""The scheme, the host with its port, and the rest."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_AROUND = " \t\r\n\"'<>"
_SCHEME = re.compile(r"([a-z][a-z0-9+-]*):", re.I)
_PATH = re.compile(r"[a-z]:[\\/]|/(?!/)|\\|~|\.\.?/", re.I)
_SEND_IT = "send the image itself, as image_file in a form or as image_base64 in JSON"
_REASONS = {
    "file": f"file: names a file of your machine; {_SEND_IT}",
    "blob": f"blob: exists in your browser only; {_SEND_IT}",
    **dict.fromkeys(
        ("s3", "gs", "az", "abfs", "abfss", "wasb", "wasbs", "r2", "hdfs", "oss", "cos"),
        "it needs the credentials of your storage: make a signed https URL of it",
    ),
}
"""Why an address of this scheme cannot be fetched."""


def to_ascii(url: str) -> str:
    """The URL in the form that is sent (RFC 3987): a host with other letters in Punycode, other characters and spaces
    in percent escapes. What cannot be written so stays as it is, and `Outbound` refuses it."""
    url = url.strip(_AROUND)
    found = _PARTS.fullmatch(url)
    if not found or len(url) > MAX_URL_CHARS or _CONTROL.search(url):
        return url
    scheme, host, rest = found.groups()
    try:
        return scheme + _host_to_ascii(host) + "".join(map(_escaped, rest))
    except UnicodeError:  # a lone surrogate, or no host name; IDNAError is one of these
        return url


def _host_to_ascii(host: str) -> str:
    if host.isascii():
        return host
    name, colon, port = host.partition(":")
    return idna.encode(name, uts46=True).decode() + colon + port


def _escaped(character: str) -> str:
    if character.isascii() and character != " ":
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode())


def why_not_fetched(url: str) -> str:
    """Why no server could give an image for this text; empty if one might."""
    found = _SCHEME.match(url)
    scheme = found[1].lower() if found else ""
    if _PATH.match(url):
        return f"this is a path on your machine; {_SEND_IT}"
    if scheme in ("http", "https"):
        return ""
    if found and url[found.end() : found.end() + 1] not in string.digits:
        return _REASONS.get(scheme, f"{scheme[:20]}: is not supported")
    return "this has no scheme"
