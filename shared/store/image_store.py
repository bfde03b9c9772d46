"""Images in a folder or an S3-compatible bucket, for those whose images outgrow the memory of Redis.

An image is written before the ledger hears of its job, so an accepted job always has one. Nothing is removed at the
moment a job ends: a sweep removes, now and then, whatever no job needs any more, and so also what a front end wrote
before it died.
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

_SUBMISSION_MAY_TAKE = timedelta(hours=1)
"""An image this young may belong to a job that is just being submitted."""


class ImageStore:
    """One object a job, named by its id. Safe to share between threads and tasks."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def from_settings(cls, settings: ImageSettings) -> Self | None:
        """The store that `MASKQ_IMAGE_STORE` names, or None if images are kept in Redis.

        Raises:
            ConfigurationError: it is not the URL of a folder or bucket.
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
        """Keep an image. Raises `StoreUnavailable`, as all methods here do, if the store does not answer."""
        with _explained():
            await obstore.put_async(self._store, job_id, image)

    async def get(self, job_id: str) -> bytes | None:
        """The image of a job, or None if it is not kept."""
        with _explained(), suppress(FileNotFoundError):
            found = await obstore.get_async(self._store, job_id)
            return bytes(await found.bytes_async())
        return None

    def read(self, job_id: str) -> bytes | None:
        """As `get`, for threads."""
        with _explained(), suppress(FileNotFoundError):
            return bytes(obstore.get(self._store, job_id).bytes())
        return None

    async def remove(self, job_id: str) -> None:
        """Forget the image of a job that was not accepted."""
        with _explained():
            await obstore.delete_async(self._store, job_id)

    def sweep(self, needed: Callable[[Collection[str]], Collection[str]]) -> int:
        """Remove what no job needs. `needed` says which of some ids are. Returns how many were removed."""
        young = datetime.now(UTC) - _SUBMISSION_MAY_TAKE
        removed = 0
        for page in obstore.list(self._store):
            old = {entry["path"] for entry in page if entry["last_modified"] < young}
            unneeded = old.difference(needed(old))
            if unneeded:
                obstore.delete(self._store, sorted(unneeded))
            removed += len(unneeded)
        return removed


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError) as error:
        raise StoreUnavailable("the image store does not answer; try again") from error
