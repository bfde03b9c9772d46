"""Downloads large files over HTTP, resumes interrupted downloads, also those of other processes, and checks digests.

The hub's own library starts a file again from its beginning in every process, which is slow for a shard of 5 GB.
"""

from __future__ import annotations

import fcntl
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import httpx2
from tqdm import tqdm

from shared.errors import CheckpointError

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 30.0
_MAX_ATTEMPTS = 5
_PAUSE_S = 1.0
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416


def download(url: str, path: Path, sha256: str, headers: Mapping[str, str] | None = None) -> None:
    """Store the content of `url` at `path`: complete and with this digest, or not at all. An existing file is not
    changed.

    The part that has arrived is kept beside it, as `.NAME.part`. Processes that want the same file wait for the first.

    Raises:
        CheckpointError: the content has another digest. It is deleted.
        httpx2.HTTPError: the server refuses, or the connection was interrupted too often.
        OSError: it cannot be stored.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    with partial.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return
        _fetch(url, headers or {}, file)
        file.flush()
        if file_sha256(partial) != sha256:
            partial.unlink()
            raise CheckpointError(f"what {url} sent has the wrong SHA-256; is a proxy answering in its place?")
        partial.replace(path)


def file_sha256(path: Path) -> str:
    """The digest of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url: str, headers: Mapping[str, str], file: BinaryIO) -> None:
    """Complete `file`, in several attempts if connections are interrupted."""
    for attempts_left in reversed(range(_MAX_ATTEMPTS)):
        try:
            _resume(url, headers, file)
            break
        except httpx2.TransportError:
            if not attempts_left:
                raise
            time.sleep(_PAUSE_S)


def _resume(url: str, headers: Mapping[str, str], file: BinaryIO) -> None:
    """Append the missing part. Shows a progress bar on a terminal."""
    have = file.tell()
    requested = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with httpx2.stream("GET", url, headers=requested, timeout=_TIMEOUT_S, follow_redirects=True) as response:
        if have and response.status_code == _RANGE_NOT_SATISFIABLE:
            return  # the server has no more bytes; the digest shows whether the file is complete
        response.raise_for_status()
        if response.status_code != _PARTIAL_CONTENT:
            file.truncate(have := 0)
        total = have + int(response.headers.get("Content-Length", 0)) or None
        bar = tqdm(desc=url.rpartition("/")[2], total=total, initial=have, unit="B", unit_scale=True, disable=None)
        with bar:
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                bar.update(file.write(chunk))
