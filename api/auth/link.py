"""Signed links: URLs by which a browser reads one thing of a job for a short time, since it sends no API key for
pictures and event streams."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from typing import Self

from shared.errors import LinkExpired, LinkInvalid

PARAMETER = "sig"
"""Name of the query parameter with the signature. OpenTelemetry leaves its value out of traces because of this name."""
_SIGNATURE = re.compile(r"([1-9]\d{0,10})\.([0-9a-f]{64}|)\.([\w-]{43})", re.ASCII)
"""When the link ends, the fingerprint of the API key, and the message authentication code."""
INVALID = "the URL was changed, or its API key was revoked; ask for a new one"
"""Of every link that is not valid. It does not say why: whoever tries links may not have made them."""


@dataclass(frozen=True)
class Link:
    """What a link grants: to read one resource with the rights of an API key, until a time."""

    resource: str
    """Path and query of the URL, without the prefix of a proxy and without the signature."""
    expires_at: int
    """In Unix seconds."""
    key_sha256: str
    """Fingerprint of the API key that asked for the link; empty if keys are off."""

    def signed(self, secret: bytes) -> str:
        """The resource with the signature in its query."""
        mark = "&" if "?" in self.resource else "?"
        return f"{self.resource}{mark}{PARAMETER}={self.expires_at}.{self.key_sha256}.{self.code(secret)}"

    def code(self, secret: bytes) -> str:
        """The message authentication code: 43 characters of base64url."""
        message = f"{self.expires_at}\n{self.key_sha256}\n{self.resource}".encode("utf-8", "surrogatepass")
        return base64.urlsafe_b64encode(hmac.digest(secret, message, hashlib.sha256)).rstrip(b"=").decode()


@dataclass(frozen=True)
class GivenLink:
    """A link as a request has it. Whoever sent it may have made it up."""

    link: Link
    code: str

    @classmethod
    def parse(cls, path: str, query: str) -> Self:
        """From the path of a request, without the prefix of a proxy, and its query. The signature comes last, so that
        nothing can be added to what is signed.

        Raises:
            LinkInvalid: the query does not end with a signature.
        """
        before, name, signature = query.rpartition(f"{PARAMETER}=")
        found = _SIGNATURE.fullmatch(signature)
        if not name or not found or before[-1:] not in ("", "&"):
            raise LinkInvalid(INVALID)
        resource = f"{path}?{before[:-1]}" if before else path
        return cls(Link(resource, int(found[1]), found[2]), found[3])

    def verified(self, secret: bytes) -> Link:
        """The link, if it was signed with this secret. It may have expired.

        Raises:
            LinkInvalid: it was not.
        """
        if not hmac.compare_digest(self.link.code(secret), self.code):
            raise LinkInvalid(INVALID)
        return self.link


def require_time(until: float) -> None:
    """Check that a link has not ended.

    Raises:
        LinkExpired: `until`, in Unix seconds, is over.
    """
    if time.time() >= until:
        raise LinkExpired("its time is over; ask for a new one")
