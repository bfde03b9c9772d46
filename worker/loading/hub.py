"""Fetches official checkpoints from the Hugging Face hub into the cache, resumes interrupted fetches, and checks files.

`HF_ENDPOINT` names another hub or a mirror. The hub's library manages the cache and fetches small files. This module
puts large files into that cache, after it has checked that the disk has room, and checks that every byte is as
published.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils import build_hf_headers

from shared.errors import CheckpointError
from shared.settings import CheckpointSettings
from worker.loading.download import download, file_sha256

_REVISION = "main"
_SMALL_FILES, _WEIGHTS = ["*.json", "*.model"], ["*.safetensors"]
_IN_FOLDERS = "*/*"
"""Not fetched: checkpoints of the training, or weights for other programs."""
_SHA256 = 64
"""Length in hexadecimal digits. Digests of git have 40."""


def fetch_checkpoint(name: str, settings: CheckpointSettings, *, is_gated: bool = True) -> Path:
    """The folder of a checkpoint on the hub: from the cache if it is complete, else fetched and checked.

    Raises:
        CheckpointError: it cannot be fetched. The message says what to do.
    """
    if cached := cached_checkpoint(name, settings):
        return cached
    folder = _fetch(name, settings, [*_SMALL_FILES, *_WEIGHTS], is_gated=is_gated)
    if not weight_files(folder):
        raise CheckpointError(f"the hub has no complete model.safetensors for {name}: publish it with push_to_hub")
    return folder


def fetch_small_files(name: str, settings: CheckpointSettings, *, is_gated: bool = True) -> Path:
    """The folder of a checkpoint on the hub, with its processor and configuration, but perhaps without its weights.

    Raises:
        CheckpointError: as `fetch_checkpoint`.
    """
    return _cached(name, settings, _SMALL_FILES) or _fetch(name, settings, _SMALL_FILES, is_gated=is_gated)


def _fetch(name: str, settings: CheckpointSettings, wanted: list[str], *, is_gated: bool) -> Path:
    """Fetch the files whose names match `wanted`, and check their digests."""
    if is_gated and settings.hf_token is None:
        raise CheckpointError(f"{name} is gated: accept its licence on its Hugging Face page, then set HF_TOKEN")
    token = settings.hf_token.get_secret_value() if settings.hf_token else False  # False: nobody's token
    with _explained(name, _cache(settings), has_token=bool(token)):
        folder = _download(name, _cache(settings), token, wanted)
    if damaged := damaged_files(folder):
        for path in damaged:
            path.resolve().unlink()
        names = ", ".join(path.name for path in damaged)
        raise CheckpointError(f"{names} of {name} arrived with the wrong digest and was deleted: fetch it again")
    return folder


def _download(name: str, cache: Path, token: str | bool, wanted: list[str]) -> Path:
    """Fetch large files first. Each is stored in the cache under its digest, where the hub's library finds it."""
    published = HfApi(token=token).model_info(name, revision=_REVISION, files_metadata=True)
    files = [
        file
        for file in published.siblings or []
        if "/" not in file.rfilename and any(fnmatch(file.rfilename, like) for like in wanted)
    ]
    blobs = cache / repo_folder_name(repo_id=name, repo_type="model") / "blobs"
    large = {file.lfs.sha256: file for file in files if file.lfs}
    _check_disk(name, cache, sum(file.size or 0 for sha256, file in large.items() if not (blobs / sha256).exists()))
    for sha256, file in large.items():
        url = hf_hub_url(name, file.rfilename, revision=published.sha, endpoint=constants.ENDPOINT)
        download(url, blobs / sha256, sha256, build_hf_headers(token=token))
    folder = snapshot_download(
        name,
        revision=_REVISION,
        cache_dir=cache,
        token=token,
        allow_patterns=wanted,
        ignore_patterns=_IN_FOLDERS,
    )
    return Path(folder)


def cached_checkpoint(name: str, settings: CheckpointSettings) -> Path | None:
    """The folder of a checkpoint if all its weights are in the cache, else None."""
    folder = _cached(name, settings, [*_SMALL_FILES, *_WEIGHTS])
    return folder if folder and weight_files(folder) else None


def _cached(name: str, settings: CheckpointSettings, wanted: list[str]) -> Path | None:
    """The folder of a checkpoint if all its files that match `wanted` are in the cache, else None."""
    try:
        folder = snapshot_download(
            name, cache_dir=_cache(settings), allow_patterns=wanted, ignore_patterns=_IN_FOLDERS, local_files_only=True
        )
    except LocalEntryNotFoundError:
        return None
    return Path(folder)


def weight_files(folder: Path) -> list[Path]:
    """The files of weights in a folder. Empty if its index names a file that does not exist."""
    files = sorted(folder.glob("*.safetensors"))
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return files
    indexed = set(json.loads(index.read_text("utf-8"))["weight_map"].values())
    return files if indexed <= {file.name for file in files} else []


def damaged_files(folder: Path) -> list[Path]:
    """Files of a cached snapshot that differ from what the hub published.

    The cache stores each file under the hub's digest: SHA-256 for large files, git's digest for small ones. Other
    folders have no digests, so none of their files counts as damaged.
    """
    return [path for path in sorted(folder.iterdir()) if not _is_intact(path)]


def has_digests(folder: Path) -> bool:
    """Whether `damaged_files` can check the folder: it is a snapshot in the hub's cache."""
    return any(_digest_in_name(path) for path in folder.iterdir())


def _is_intact(path: Path) -> bool:
    published = _digest_in_name(path)
    if len(published) == _SHA256:
        return file_sha256(path) == published
    return not published or _git_digest(path.read_bytes()) == published


def _git_digest(data: bytes) -> str:
    """The digest of git, which the hub uses for small files."""
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def _digest_in_name(path: Path) -> str:
    """The digest under which the cache stores the file, or an empty string."""
    name = path.resolve().name
    return name if path.is_symlink() and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) else ""


def _cache(settings: CheckpointSettings) -> Path:
    return settings.cache_dir / "hub"


def _check_disk(name: str, cache: Path, needed: int) -> None:
    """Raise now if the fetch would fill the disk minutes later. `needed` is in bytes."""
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if needed > free:
        raise CheckpointError(
            f"{name} takes {needed / 1e9:.1f} GB more and {free / 1e9:.1f} GB are free for {cache}: "
            "make room, or set MASKQ_CACHE_DIR to a larger disk"
        )


@contextmanager
def _explained(name: str, cache: Path, *, has_token: bool) -> Iterator[None]:
    """Turn errors of fetching into a `CheckpointError` that says what to do."""
    try:
        yield
    except RepositoryNotFoundError as error:  # gated ones too
        raise CheckpointError(_not_found(name, error, has_token=has_token)) from None
    except (HfHubHTTPError, httpx2.HTTPStatusError) as error:
        raise CheckpointError(_refused(name, error.response)) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, httpx2.TransportError):
        raise CheckpointError(
            f"{name} is not in {cache}, and the Hugging Face hub is out of reach or the connection was interrupted; "
            "what has arrived is kept, and the next attempt resumes from there"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{name} could not be stored in {cache}: {error.strerror or error}") from error


def _not_found(name: str, error: RepositoryNotFoundError, *, has_token: bool) -> str:
    if not has_token:
        return (
            f"the hub has no {name} that everybody may read: check the name, or set HF_TOKEN if it is private or gated"
        )
    if isinstance(error, GatedRepoError):
        return (
            f"{name} is gated and the account of HF_TOKEN has not accepted its licence: do so on its Hugging Face page"
        )
    if error.response.status_code == 404:
        return f"the hub has no {name}, or HF_TOKEN may not see it"
    return f"HF_TOKEN may not see {name}: is it valid and may it read gated models?"


def _refused(name: str, response: httpx2.Response) -> str:
    status, wait = response.status_code, response.headers.get("Retry-After")
    if status == 401:
        return "the Hugging Face hub does not know HF_TOKEN: make a new one in the account's settings"
    if status == 403:
        return f"HF_TOKEN may not read {name}: give the token the right to read gated models"
    if status == 429:
        when = f"in {wait} seconds" if wait else "later"
        return f"the Hugging Face hub requires a pause: try again {when}; what has arrived is kept"
    return f"the Hugging Face hub answered {status} for {name}; try again later, what has arrived is kept"
