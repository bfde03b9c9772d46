"""HTTP basic authentication, as Label Studio offers it for backends."""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass, field

CHALLENGE = {"WWW-Authenticate": 'Basic realm="maskq"'}


@dataclass(frozen=True)
class BasicAuth:
    """One user."""

    user: str
    password: str = field(repr=False)

    def accepts(self, authorization: str) -> bool:
        """Whether a header `Authorization` has this user and this password."""
        scheme, _, given = authorization.partition(" ")
        try:
            decoded = base64.b64decode(given.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return scheme.lower() == "basic" and secrets.compare_digest(decoded, f"{self.user}:{self.password}".encode())
