"""The child process that decodes images, one at a time. Only `shared.images.sandbox` starts it.

A request or reply is one line of JSON, followed by bytes. Before the first request, one line names the protections in
force. A hostile image can harm only this process: its memory and CPU time are limited, it inherits no open files, no
sockets and no secrets, and on Linux it can only compute, read requests and write replies (`shared.images.isolation`).
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib import import_module
from typing import Any, BinaryIO

from PIL import Image

from shared.domain.tiles import BoxXyxy, choose_tiles, picture_views
from shared.errors import ImageUnreadable, MaskqError
from shared.images.decode import Picture, decode
from shared.images.inspect import inspect_image
from shared.images.isolation import isolate, limit_cpu

_IMPORTED_LATE = ("ImageCms", "ImagePalette")
"""Modules that Pillow imports when an image needs them. ImageCms is for LAB."""


def main() -> None:
    """Reply to requests until standard input ends. Arguments: memory in bytes, and CPU time per image in seconds."""
    memory_bytes, cpu_s = map(int, sys.argv[1:])
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    _load_decoders()
    _reply(replies, {"isolation": isolate(memory_bytes)}, b"")
    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["bytes"])
        limit_cpu(cpu_s)
        _reply(
            replies, *_decoded(data, request["max_pixels"], tuple(request["size"]), request["tiles"], request["exact"])
        )


def _load_decoders() -> None:
    """Import all that decoding may need: once isolated, this process can open no file."""
    warnings.simplefilter("ignore")  # to show one, Python reads source files
    for module in _IMPORTED_LATE:
        import_module(f"PIL.{module}")


def _decoded(
    data: bytes, max_pixels: int, size: tuple[int, int], tiles: str, is_exact: bool
) -> tuple[dict[str, Any], bytes]:
    try:
        header = inspect_image(data, max_pixels)
        finest = max(map(int, choose_tiles(tiles, header.width, header.height).split("x")))
        picture = decode(data, max_pixels, (size[0] * finest, size[1] * finest), is_exact=is_exact)
        pixels = b"".join(_scaled(picture, size, view) for view in picture_views(tiles, picture.width, picture.height))
    except MemoryError:
        error: MaskqError = ImageUnreadable("it takes more memory to decode than an image may")
    except MaskqError as refusal:
        error = refusal
    else:
        return {"width": picture.width, "height": picture.height, "notes": list(picture.notes)}, pixels
    return {"error": error.type, "detail": error.detail}, b""


def _scaled(picture: Picture, size: tuple[int, int], view: BoxXyxy) -> bytes:
    """A part of a picture, in pixels of the image, scaled to `size`."""
    across, down = picture.image.width / picture.width, picture.image.height / picture.height
    box = (view[0] * across, view[1] * down, view[2] * across, view[3] * down)
    return picture.image.resize(size, Image.Resampling.BICUBIC, box=box).tobytes()


def _reply(replies: BinaryIO, head: dict[str, Any], body: bytes) -> None:
    replies.write(json.dumps(head).encode() + b"\n")
    replies.write(body)
    replies.flush()


if __name__ == "__main__":
    main()
