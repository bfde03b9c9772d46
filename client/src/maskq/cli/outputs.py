"""Files that a result is written to."""

from __future__ import annotations

import io
import json
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
            ConfigurationError: the kind of a file is unknown, or its folder does not exist.
        """
        for path in self.files:
            _writer_of(path)
        if self.overlay:
            _picture_format(self.overlay)
        for path in filter(None, [*self.files, self.overlay, self.coco]):
            if path.is_dir() or not path.parent.is_dir():
                raise ConfigurationError(f"{path} cannot be written: it is a folder, or its folder does not exist")

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
