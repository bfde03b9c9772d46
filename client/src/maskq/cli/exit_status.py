"""Exit statuses, for scripts."""

from __future__ import annotations

from enum import IntEnum

from maskq.errors import ConfigurationError, ConnectionFailed, JobUnsuccessful, MaskqError, RequestError, WaitTimeout


class ExitStatus(IntEnum):
    """What the exit status of `maskq` means. Others are errors of maskq itself."""

    OK = 0
    """All that was asked for is done."""
    FAILED = 1
    """Something that no other status names."""
    USAGE = 2
    """The command line or the configuration is wrong. Nothing was sent."""
    REFUSED = 3
    """The service refused the request: a wrong key, an image that is none, a job that does not exist."""
    UNREACHABLE = 4
    """The service did not answer."""
    UNSUCCESSFUL = 5
    """A job, or one of several, has ended without a result."""
    UNFINISHED = 6
    """The job has not ended in the time given. It goes on."""
    INTERRUPTED = 130
    """Ctrl-C."""

    @classmethod
    def of(cls, error: MaskqError) -> ExitStatus:
        """The exit status for an error."""
        for kind, status in _STATUSES.items():
            if isinstance(error, kind):
                return status
        return cls.FAILED


_STATUSES = {
    ConfigurationError: ExitStatus.USAGE,
    RequestError: ExitStatus.REFUSED,
    ConnectionFailed: ExitStatus.UNREACHABLE,
    JobUnsuccessful: ExitStatus.UNSUCCESSFUL,
    WaitTimeout: ExitStatus.UNFINISHED,
}
