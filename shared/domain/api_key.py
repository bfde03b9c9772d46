"""API keys: what they look like, what they allow, and what is kept of them."""

from __future__ import annotations

import hashlib
import secrets
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

PREFIX = "maskq_"
"""So that people, and programs that look for leaked secrets, recognize a key."""
_SECRET_BYTES = 32
_ID_BYTES = 6


class Scope(StrEnum):
    """What a key may be used for."""

    SUBMIT = "submit"
    """Hand in jobs and cancel its own."""
    READ = "read"
    """Look at its own jobs and their results."""
    ADMIN = "admin"
    """All of that, with everybody's jobs."""


class ApiKey(BaseModel):
    """The record of a key. Its secret is nowhere: the record is found by the secret's SHA-256."""

    model_config = ConfigDict(frozen=True)

    id: str
    """Names the key in lists and logs, and is the owner of the jobs it hands in."""
    name: str
    """Whose it is, in the operator's words."""
    scopes: frozenset[Scope]
    per_minute: float = Field(gt=0)
    """Requests it may send in the long run."""
    burst: int = Field(ge=1)
    """Requests it may send at once, if it has been quiet."""
    share: int = Field(ge=1)
    """How many turns its jobs get in the order of service for each turn of a key whose share is 1."""
    created_at_ms: int
    """Unix milliseconds."""


def new_key_id() -> str:
    """A name for a key that no other has."""
    return f"key-{secrets.token_hex(_ID_BYTES)}"


def new_secret() -> str:
    """What a client has to show: the prefix and 32 random bytes in base64url."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def fingerprint(secret: str) -> str:
    """SHA-256 of a secret in hex, by which its record is found.

    A fast hash will do, since nobody can try 2^256 secrets. And comparing in constant time would protect nothing: the
    lookup compares hashes, of which a caller cannot choose the leading digits.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
