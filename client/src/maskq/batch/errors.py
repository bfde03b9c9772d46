"""Why a batch is not run, and which errors belong to one image only."""

from __future__ import annotations

from maskq import errors
from maskq.errors import ConfigurationError, ImageError, JobUnsuccessful, MaskqError, RequestError


class BatchRefused(ConfigurationError):
    """The batch cannot be run as it was asked for. Nothing was sent."""


class NotWritten(MaskqError):
    """A file of the results cannot be written. The batch can go on later."""


class NameTooLong(MaskqError):
    """The name of an image is too long for the names of its files."""


_OF_ONE_IMAGE = (
    ImageError,
    NameTooLong,
    JobUnsuccessful,
    errors.ImageExpired,
    errors.ImageTooLarge,
    errors.ImageUnreadable,
    errors.InternalError,
    errors.IdempotencyMismatch,
    errors.JobDeleted,
    errors.JobExpired,
    errors.JobNotFound,
    errors.RequestTimedOut,
    errors.UnsupportedImage,
)
_TOO_LARGE = 413
"""Proxies answer with it too, without a type."""


def is_of_one_image(error: MaskqError) -> bool:
    """Whether other images may do better. Else the whole batch has to stop: the service is away, or refuses the key."""
    if isinstance(error, errors.InvalidField):
        return error.detail.startswith("image")
    return isinstance(error, _OF_ONE_IMAGE) or (isinstance(error, RequestError) and error.status == _TOO_LARGE)


def type_of(error: MaskqError) -> str:
    """The stable type of an error: that of docs/errors.md, or one of `file_unreadable` and `name_too_long`."""
    if isinstance(error, (RequestError, JobUnsuccessful)):
        return error.type
    return "name_too_long" if isinstance(error, NameTooLong) else "file_unreadable"


def detail_of(error: MaskqError) -> str:
    """A sentence about an error."""
    if isinstance(error, RequestError):
        return error.detail or error.title
    return error.detail if isinstance(error, JobUnsuccessful) else str(error)
