"""Places for images outside Redis: a folder and an S3 bucket. Tests look into them directly."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

_BUCKET = "images"
_AGE = timedelta(hours=2)


class ImagePlace(Protocol):
    """A place whose files a test can read, write and make older."""

    @property
    def url(self) -> str:
        """The value of `MASKQ_IMAGE_STORE`."""

    def names(self) -> set[str]: ...

    def read(self, name: str) -> bytes: ...

    def write(self, name: str, content: bytes) -> None: ...

    def make_old(self, name: str) -> None:
        """Make a file two hours old."""


class Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = folder.as_uri()

    def names(self) -> set[str]:
        return {path.name for path in self._folder.iterdir()}

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        (self._folder / name).write_bytes(content)

    def make_old(self, name: str) -> None:
        then = time.time() - _AGE.total_seconds()
        os.utime(self._folder / name, (then, then))


class Bucket:
    """A bucket of moto, a server with the S3 API. Read and written through its backend, not through the API."""

    url = f"s3://{_BUCKET}/maskq"

    def __init__(self) -> None:
        self._backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self._backend.create_bucket(_BUCKET, "us-east-1")

    def names(self) -> set[str]:
        return {name.removeprefix("maskq/") for name in self._keys}

    def read(self, name: str) -> bytes:
        content: bytes = self._keys[f"maskq/{name}"].value
        return content

    def write(self, name: str, content: bytes) -> None:
        self._backend.put_object(_BUCKET, f"maskq/{name}", content)

    def make_old(self, name: str) -> None:
        self._keys[f"maskq/{name}"].last_modified = (datetime.now(UTC) - _AGE).replace(tzinfo=None)

    @property
    def _keys(self) -> dict[str, Any]:
        keys: dict[str, Any] = self._backend.buckets[_BUCKET].keys
        return keys


@contextmanager
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Run a server with an empty bucket, and set the environment variables of a process that uses it."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        yield Bucket()
    finally:
        s3_backends.reset()
        server.stop()
