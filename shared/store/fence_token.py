"""The random part of fence tokens.

It is made here and not in a script: a script gets the same random numbers with every call.
"""

from __future__ import annotations

import secrets

_NONCE_BYTES = 8
"""Two claims with the same count get the same token once in 2**64 times."""


def new_nonce() -> str:
    """A new one, in hex."""
    return secrets.token_hex(_NONCE_BYTES)
