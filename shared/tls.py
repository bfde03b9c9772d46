"""Trust in the servers that this process connects to, and why a certificate is refused."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

_CHAIN = 5
"""How many causes of an error are looked at."""
_EXPIRED, _NOT_YET_VALID, _WRONG_NAME, _WRONG_ADDRESS = 10, 9, 62, 64
"""Of OpenSSL, `X509_V_ERR_…`."""
_REASONS = {
    _EXPIRED: "it has expired",
    _NOT_YET_VALID: "it is not valid yet",
    _WRONG_NAME: "it is for another host name",
    _WRONG_ADDRESS: "it is for another address",
}


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and the errors that it was raised for."""
    cause: BaseException | None = error
    for _ in range(_CHAIN):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or cause.__context__


def certificate_fault(error: BaseException) -> str:
    """`certificate not trusted: …` if that is why a connection failed; otherwise empty."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = _REASONS.get(cause.verify_code, "it is not from a known CA")
            return f"certificate not trusted: {reason}"
    return ""
