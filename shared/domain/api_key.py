"""API keys: their format, their scopes, and the record that the store keeps."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

PREFIX = "maskq_"
"""First characters of every key: people and scanners for leaked secrets recognize it."""
_SECRET_BYTES = 32
_ID_BYTES = 6


class Scope(StrEnum):
    """A permission of a key."""

    SUBMIT = "submit"
    """Submit jobs, and cancel its own jobs. No answer has a result."""
    READ = "read"
    """Read its own jobs and their results."""
    ADMIN = "admin"
    """Submit, read and cancel the jobs of all owners."""


class RequestKind(StrEnum):
    """What a request is charged as. Each kind has an allowance of its own, so reading jobs does not keep a client from
    submitting more."""

    SUBMIT = "submit"
    """It makes jobs."""
    READ = "read"
    """Any other request: it reads jobs, waits for them or cancels them."""

    @property
    def times(self) -> int:
        """How many times the rate of the key this kind may use: a client that looks at each job some times is not
        refused, and one that reads without a pause is."""
        return {RequestKind.SUBMIT: 1, RequestKind.READ: 20}[self]


@dataclass(frozen=True)
class Charge:
    """What one request costs its key."""

    kind: RequestKind
    cost: int = 1
    """In requests of this kind; 0 only looks what is left."""


class ApiKey(BaseModel):
    """The record of a key. The secret is not stored; the record is found by the secret's SHA-256."""

    model_config = ConfigDict(frozen=True)

    id: str
    """Identifies the key in lists and logs, and is the owner of the jobs it submits."""
    name: str
    """Name of its user, chosen by the operator."""
    scopes: frozenset[Scope]
    per_minute: float = Field(gt=0)
    """Submissions per minute that it may send on average."""
    burst: int = Field(ge=1)
    """Submissions that it may send at once after a pause."""
    share: int = Field(ge=1)
    """Weight of this key's jobs in the fair queue, relative to keys with share 1."""
    created_at_ms: int
    """Creation time in Unix milliseconds."""

    def allows(self, scope: Scope) -> bool:
        """Whether the key has this permission: admins have all."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def new_key_id() -> str:
    """A new random id: `key-` and 12 hex digits."""
    return f"key-{secrets.token_hex(_ID_BYTES)}"


def new_secret() -> str:
    """A new secret for a client: the prefix and 32 random bytes in base64url."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def fingerprint(secret: str) -> str:
    """SHA-256 of a secret in hex, by which its record is found.

    A fast hash is enough, because nobody can try 2^256 secrets. A comparison in constant time would add nothing: the
    lookup compares hashes, and a caller cannot choose their leading digits.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
