"""Decodes images in helper processes, so that none can take down the process that needs its pixels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from PIL import Image

from shared.errors import ImageTooLarge, ImageUnreadable, UnsupportedImage
from shared.settings import ImageSettings

_REFUSALS = {error.type: error for error in (UnsupportedImage, ImageTooLarge, ImageUnreadable)}
_PATIENCE = 6
"""Times the CPU seconds that an answer may take by the clock: the machine may be busy, or the helper frozen."""
_ROOT = Path(__file__).parents[2]
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True)
class Picture:
    """A decoded image, upright, scaled to what was asked for."""

    image: Image.Image
    """8-bit RGB."""
    width: int
    """Of the image before it was scaled, in pixels. So is `height`."""
    height: int


class Decoders:
    """Some helper processes, started when they are first needed. Safe to share between threads."""

    def __init__(self, settings: ImageSettings) -> None:
        self._settings = settings
        self._free = threading.BoundedSemaphore(settings.decode_processes)
        self._idle: list[_Helper] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the helpers that are idle. Those at work end by themselves when nobody listens any more."""
        with suppress(IndexError):
            while True:
                self._idle.pop().end()

    def decode(self, data: bytes, size: tuple[int, int]) -> Picture:
        """Decode an image as `open_upright` does, and scale it (bicubic) to `size`, which is (width, height).

        Raises:
            UnsupportedImage, ImageTooLarge, ImageUnreadable: as `open_upright`; and the last of an image that takes
                too much time or memory, or that its decoder does not survive.
        """
        with self._free:
            try:
                return self._decode(data, size)
            except _HelperLost:
                pass  # it may have been killed for no fault of this image
            try:
                return self._decode(data, size)
            except _HelperLost:
                raise ImageUnreadable("its decoder crashed") from None

    def _decode(self, data: bytes, size: tuple[int, int]) -> Picture:
        with self._helper() as helper:
            head, pixels = helper.ask(data, self._settings.max_image_pixels, size)
        if "error" in head:
            raise _REFUSALS.get(head["error"], ImageUnreadable)(head["detail"])
        return Picture(Image.frombytes("RGB", size, pixels), head["width"], head["height"])

    @contextmanager
    def _helper(self) -> Iterator[_Helper]:
        """A helper of our own. It is kept for others only if it did its work."""
        try:
            helper = self._idle.pop()
        except IndexError:  # asking first would race with other threads
            helper = _Helper(self._settings)
        try:
            yield helper
        except BaseException:
            helper.end()
            raise
        self._idle.append(helper)


class _HelperLost(Exception):
    """The process ended before it had answered."""


class _Helper:
    """One process and the pipes to it."""

    def __init__(self, settings: ImageSettings) -> None:
        limits = [str(settings.decode_memory_bytes), str(settings.decode_cpu_s)]
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._patience_s = settings.decode_cpu_s * _PATIENCE
        self._process = subprocess.Popen(  # noqa: S603  nothing in the command is a client's
            [sys.executable, "-m", "shared.images.sandbox_child", *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            env={**environment, "PYTHONPATH": str(_ROOT)},
            start_new_session=True,  # Ctrl-C is for the process that uses us
        )

    def ask(self, data: bytes, max_pixels: int, size: tuple[int, int]) -> tuple[dict[str, Any], bytes]:
        """Have an image decoded. Returns the head of the answer and, if that names no error, the pixels."""
        width, height = size
        request = {"bytes": len(data), "max_pixels": max_pixels, "size": size}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        patience = threading.Timer(self._patience_s, self._process.kill)
        patience.start()
        try:
            stdin.write(json.dumps(request).encode() + b"\n" + data)
            stdin.flush()
            head = json.loads(stdout.readline() or "null")
            pixels = b"" if head is None or "error" in head else stdout.read(width * height * 3)
        except BrokenPipeError:
            head, pixels = None, b""
        finally:
            patience.cancel()
        if head is None or ("error" not in head and len(pixels) < width * height * 3):
            self._explain_end()
        return head, pixels

    def _explain_end(self) -> None:
        """Raise what the end of the process means."""
        if self._process.wait(self._patience_s) == -signal.SIGXCPU:
            raise ImageUnreadable("it takes longer to decode than an image may")
        raise _HelperLost

    def end(self) -> None:
        """End the process and forget the pipes."""
        self._process.kill()
        self._process.communicate()
