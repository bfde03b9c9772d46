"""Images in a folder or an S3-compatible bucket, for deployments whose images outgrow the memory of Redis.

An image is written before its job is submitted, so an accepted job always has one. The end of a job removes nothing: a
periodic sweep removes every image that no job needs, also those that a front end wrote before it died.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Self

import obstore
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from shared.errors import ConfigurationError, StoreUnavailable
from shared.settings import ImageSettings

_MAX_SUBMISSION = timedelta(hours=1)
"""A younger image may belong to a job that is being submitted."""


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
            raise ConfigurationError(
                "MASKQ_IMAGE_STORE must be file:///an/existing/folder or a bucket such as s3://name/prefix"
            ) from None

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
        """Remove the image of a job that was not accepted."""
        with _translated_errors():
            await obstore.delete_async(self._store, job_id)

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


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        raise StoreUnavailable("the image store does not answer; try again") from error
