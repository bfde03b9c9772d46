"""Finds the weights of the mask VQ-VAE: beside the checkpoint, in the cache, or at their publisher."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import httpx2

from shared.errors import CheckpointError
from worker.loading.download import download, file_sha256

OFFICIAL_URL = "https://storage.googleapis.com/big_vision/paligemma/vae-oid.npz"
OFFICIAL_SHA256 = "5586010257b8536dddefab65e7755077f21d5672d5674dacf911f73ae95a4447"
"""Digest of the file in the bucket `big_vision`, 8,479,556 bytes."""
_BESIDE = ("vae.npz", "vae-oid.npz")

logger = logging.getLogger(__name__)


def find_vae(folders: Sequence[Path], cache_dir: Path) -> Path:
    """The file with the VQ-VAE of a checkpoint, in the first of its folders that has one. If none has, this is the
    official one, fetched once.

    Raises:
        CheckpointError: it cannot be fetched, or has the wrong digest. The message says what to do.
    """
    return vae_beside(folders) or fetch_once(OFFICIAL_URL, OFFICIAL_SHA256, official_vae(cache_dir))


def vae_beside(folders: Sequence[Path]) -> Path | None:
    """The file with the VQ-VAE in the first of these folders that has one."""
    beside = (folder / name for folder in folders for name in _BESIDE)
    return next((path for path in beside if path.exists()), None)


def official_vae(cache_dir: Path) -> Path:
    """Where the official file is kept once fetched."""
    return cache_dir / "vae-oid.npz"


def fetch_once(url: str, sha256: str, path: Path) -> Path:
    """Download `url` to `path` unless the file exists, and check its digest.

    Raises:
        CheckpointError: as `find_vae`.
    """
    if not path.exists():
        logger.info("fetching %s", url)
        try:
            download(url, path, sha256)
        except httpx2.HTTPError as error:
            raise CheckpointError(f"{url} could not be fetched; download it elsewhere to {path}") from error
        except OSError as error:
            raise CheckpointError(f"{path} could not be written: {error.strerror}") from error
    elif file_sha256(path) != sha256:
        raise CheckpointError(f"{path} has the wrong SHA-256: delete it, and it will be fetched again")
    return path
