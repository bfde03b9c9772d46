"""Exit statuses, for scripts."""

from __future__ import annotations

from enum import IntEnum

from maskq.errors import (
    ConfigurationError,
    ConnectionFailed,
    ImageError,
    JobUnsuccessful,
    MaskqError,
    MissingPackage,
    RequestError,
    WaitTimeout,
)


class ExitStatus(IntEnum):
    """What the exit status of `maskq` means. Others are errors of maskq itself."""

    OK = 0
    """All that was asked for is done."""
    FAILED = 1
    """Something that no other status names."""
    USAGE = 2
    """The command line, the configuration or a file on this side is wrong. Nothing was sent."""
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
    OUTPUT_CLOSED = 141
    """The program that reads the output has ended, as `head` does."""

    @property
    def short(self) -> str:
        """A word or two for the help."""
        return _SHORT.get(self, self.name.lower().replace("_", " "))

    @classmethod
    def of(cls, error: MaskqError) -> ExitStatus:
        """The exit status for an error."""
        for kind, status in _STATUSES.items():
            if isinstance(error, kind):
                return status
        return cls.FAILED


_SHORT = {
    ExitStatus.OK: "done",
    ExitStatus.FAILED: "other errors",
    ExitStatus.USAGE: "wrong usage or file",
    ExitStatus.REFUSED: "refused by the service",
    ExitStatus.UNREACHABLE: "no answer",
    ExitStatus.UNSUCCESSFUL: "job without a result",
    ExitStatus.UNFINISHED: "job goes on",
}
_STATUSES = {
    ConfigurationError: ExitStatus.USAGE,
    ImageError: ExitStatus.USAGE,
    MissingPackage: ExitStatus.USAGE,
    RequestError: ExitStatus.REFUSED,
    ConnectionFailed: ExitStatus.UNREACHABLE,
    JobUnsuccessful: ExitStatus.UNSUCCESSFUL,
    WaitTimeout: ExitStatus.UNFINISHED,
}
