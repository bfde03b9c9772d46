"""Images in a folder or an S3-compatible bucket, for deployments whose images outgrow the memory of Redis.

An image is written before its job is submitted, so an accepted job always has one. It is removed when its job ends
without a result. A periodic sweep removes every other image that no job needs, also those that a front end wrote before
it died.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Self

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import ObjectStore, from_url

from shared.errors import ConfigurationError, StoreUnavailable
from shared.settings import ImageSettings

_MAX_SUBMISSION = timedelta(hours=1)
"""A younger image may belong to a job that is being submitted."""
_FORM = "file:///an/existing/folder or a bucket such as s3://name/prefix"
_PROBE = "maskq-probe"
_METADATA_SERVICE = "169.254.169.254"
"""Where cloud machines get credentials; it is asked if the environment has none."""

logger = logging.getLogger(__name__)


class ImageStore:
    """One object per job, named by the job's id. Safe to share between threads and tasks."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def from_settings(cls, settings: ImageSettings) -> Self | None:
        """The store that `MASKQ_IMAGE_STORE` names, or None if images are kept in Redis.

        Raises:
            ConfigurationError: the value is not the URL of an existing folder or of a bucket.
        """
        if not settings.image_store:
            return None
        try:
            return cls(from_url(settings.image_store))
        except (BaseError, OSError, ValueError):
            raise ConfigurationError(f"{_named(settings)} must be {_FORM}") from None

    @classmethod
    def require_usable(cls, settings: ImageSettings) -> None:
        """Write and remove an object, to see at start what would fail for every image. A store that does not answer is
        only logged: it may come back.

        Raises:
            ConfigurationError: as `from_settings`, or the folder or bucket cannot be written.
        """
        store = cls.from_settings(settings)
        if store is None:
            return
        try:
            obstore.put(store._store, _PROBE, b"")
            obstore.delete(store._store, _PROBE)
        except (BaseError, OSError) as error:
            if fault := _lasting_fault(error):
                raise ConfigurationError(f"{_named(settings)}: {fault}") from None
            logger.warning("the image store %s does not answer; requests get 503 until it does", settings.image_store)

    async def put(self, job_id: str, image: bytes) -> None:
        """Write an image. Raises `StoreUnavailable`, as all methods here do, if the store does not answer."""
        with _translated_errors():
            await obstore.put_async(self._store, job_id, image)

    async def get(self, job_id: str) -> bytes | None:
        """The image of a job, or None if it is not kept."""
        with _translated_errors(), suppress(FileNotFoundError):
            found = await obstore.get_async(self._store, job_id)
            return bytes(await found.bytes_async())
        return None

    def read(self, job_id: str) -> bytes | None:
        """The same as `get`, for threads."""
        with _translated_errors(), suppress(FileNotFoundError):
            return bytes(obstore.get(self._store, job_id).bytes())
        return None

    async def remove(self, job_id: str) -> None:
        """Remove the image of a job that was not accepted, or was canceled. Does nothing if there is none."""
        with _translated_errors(), suppress(FileNotFoundError):
            await obstore.delete_async(self._store, job_id)

    def delete(self, job_id: str) -> None:
        """The same as `remove`, for threads."""
        with _translated_errors(), suppress(FileNotFoundError):
            obstore.delete(self._store, job_id)

    def sweep(self, needed: Callable[[Collection[str]], Collection[str]]) -> int:
        """Remove the images that no job needs, and return their number. `needed` returns those of the given ids that
        are needed."""
        young = datetime.now(UTC) - _MAX_SUBMISSION
        removed = 0
        for page in obstore.list(self._store):
            old = {entry["path"] for entry in page if entry["last_modified"] < young}
            unneeded = old.difference(needed(old))
            if unneeded:
                obstore.delete(self._store, sorted(unneeded))
            removed += len(unneeded)
        return removed


def _named(settings: ImageSettings) -> str:
    """The setting with its value. Such a URL has no secrets: they are in the environment variables of the cloud."""
    return f"MASKQ_IMAGE_STORE={settings.image_store}"


def _lasting_fault(error: Exception) -> str:
    """Why this store can never be used with this configuration; empty if the error may end by itself."""
    text = str(error)
    if _METADATA_SERVICE in text or "metadata.google.internal" in text or isinstance(error, UnauthenticatedError):
        return (
            "there are no credentials for it, or wrong ones; for s3:// set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
            "and AWS_REGION, and AWS_ENDPOINT_URL unless it is at AWS"
        )
    if isinstance(error, FileNotFoundError):
        return "there is no such folder or bucket: make it first"
    if isinstance(error, PermissionError | PermissionDeniedError) or "Permission denied" in text or "Read-only" in text:
        return "this process may not write there: change its rights or those of its credentials"
    return "it is not reached with http:// unless AWS_ALLOW_HTTP=true" if "builder error" in text else ""


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        raise StoreUnavailable("the image store does not answer; try again") from error
