"""Large files over HTTP: taken up where an earlier try broke off, even one of another process, and held to a digest.

The hub's own library begins a file anew in every process, which for a shard of 5 GB is a long way back.
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
_TRIES = 5
_PAUSE_S = 1.0
_PARTIAL_CONTENT, _RANGE_NOT_SATISFIABLE = 206, 416


def download(url: str, path: Path, sha256: str, headers: Mapping[str, str] | None = None) -> None:
    """Put what `url` holds at `path`, whole and with this digest, or not at all. A path that is there is left alone.

    What has arrived of a file stays beside it, as `.NAME.part`. Processes that want the same file wait for the first.

    Raises:
        CheckpointError: it has another digest; what has arrived is deleted.
        httpx2.HTTPError: the server refuses, or broke off too often.
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
    """Hexadecimal, in lower case."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url: str, headers: Mapping[str, str], file: BinaryIO) -> None:
    """Complete `file`, in several tries if connections break."""
    for tries_left in reversed(range(_TRIES)):
        try:
            _go_on(url, headers, file)
            break
        except httpx2.TransportError:
            if not tries_left:
                raise
            time.sleep(_PAUSE_S)


def _go_on(url: str, headers: Mapping[str, str], file: BinaryIO) -> None:
    """Append what is missing; show how it goes on if somebody watches."""
    have = file.tell()
    asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with httpx2.stream("GET", url, headers=asked, timeout=_TIMEOUT_S, follow_redirects=True) as response:
        if have and response.status_code == _RANGE_NOT_SATISFIABLE:
            return  # there is no more: the digest will tell whether what we have is all
        response.raise_for_status()
        if response.status_code != _PARTIAL_CONTENT:
            file.truncate(have := 0)
        total = have + int(response.headers.get("Content-Length", 0)) or None
        bar = tqdm(desc=url.rpartition("/")[2], total=total, initial=have, unit="B", unit_scale=True, disable=None)
        with bar:
            for chunk in response.iter_bytes(_CHUNK_BYTES):
                bar.update(file.write(chunk))
