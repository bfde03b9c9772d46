"""Files that a result is written to."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from maskq.cli.output import print_note
from maskq.errors import ConfigurationError
from maskq.job import Result
from maskq.packages import require

_PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_MASK = "mask.png"


@dataclass(frozen=True)
class Outputs:
    """Which files to write. `files` are written by the ends of their names."""

    files: list[Path]
    overlay: Path | None = None
    masks: Path | None = None
    coco: Path | None = None

    def check(self) -> None:
        """Find wrong names before a job is submitted for them.

        Raises:
            ConfigurationError: the kind of a file is unknown, or its folder does not exist or is read-only.
        """
        for path in self.files:
            _writer_of(path)
        if self.overlay:
            _picture_format(self.overlay)
        for path in filter(None, [*self.files, self.overlay, self.coco]):
            if reason := _obstacle(path):
                raise ConfigurationError(f"{path} cannot be written: {reason}")
        if self.masks and (reason := _obstacle_of_folder(self.masks)):
            raise ConfigurationError(f"{self.masks} cannot be written: {reason}")

    def write(self, result: Result) -> None:
        """Write all of them.

        Raises:
            OSError: one cannot be written.
            RequestError, MaskUnavailable: the result lacks what one needs.
        """
        for path in self.files:
            _write(path, _writer_of(path)(path, result))
        if self.overlay:
            _write(self.overlay, _overlay(self.overlay, result))
        if self.coco:
            _write(self.coco, _json(result.to_coco()))
        if self.masks:
            _write_masks(self.masks, result)


def _obstacle(path: Path) -> str:
    """Why no file can be written there, as far as it can be known before. Empty: nothing is known."""
    if path.is_dir():
        return "it is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    return "" if os.access(path if path.exists() else path.parent, os.W_OK) else "you may not write there"


def _obstacle_of_folder(folder: Path) -> str:
    """Why no folder can be made there, or no file in it."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        return f"{nearest} is a file"
    return "" if os.access(nearest, os.W_OK) else f"you may not write in {nearest}"


def _writer_of(path: Path) -> Callable[[Path, Result], bytes]:
    if path.suffix.lower() == ".json":
        return lambda _, result: _json(result.job.json)
    if path.name.lower().endswith(_MASK):
        return lambda _, result: _union(result)
    _picture_format(path)
    return _overlay


def _picture_format(path: Path) -> str:
    try:
        return _PICTURES[path.suffix.lower()]
    except KeyError:
        kinds = ", ".join([".json", _MASK, *_PICTURES])
        raise ConfigurationError(f"what to write to {path} is unknown: its name must end in one of {kinds}") from None


def _overlay(path: Path, result: Result) -> bytes:
    kind = _picture_format(path)
    return result.overlay_png() if kind == "PNG" else _encoded(result.overlay().convert("RGB"), kind)


def _union(result: Result) -> bytes:
    np = require("numpy", "images")
    union = np.zeros((result.height, result.width), bool)
    for found in result:
        if (mask := found.mask) is not None:
            union |= mask
    return _encoded(require("PIL.Image", "images").fromarray(union), "PNG")


def _write_masks(folder: Path, result: Result) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    image = require("PIL.Image", "images")
    for number, found in enumerate(result):
        mask = found.mask
        if mask is None:
            print_note(f"object {number} ({found.name}) has a box and no mask")
        else:
            _write(folder / f"{number}.png", _encoded(image.fromarray(mask), "PNG"))


def _encoded(picture: object, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)  # type: ignore[attr-defined]
    return file.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    print_note(f"wrote {path}")
