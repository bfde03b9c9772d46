"""Decodes images in child processes, so that no image can crash or block the process that needs its pixels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from PIL import Image

from shared.errors import ImageTooLarge, ImageUnreadable, UnsupportedImage
from shared.settings import ImageSettings

_REFUSALS = {error.type: error for error in (UnsupportedImage, ImageTooLarge, ImageUnreadable)}
_WALL_TIME_FACTOR = 6
"""Seconds to wait for a reply, per second of CPU time an image may take: the machine may be busy, the child frozen."""
_ROOT = Path(__file__).parents[2]
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""The only environment variables that a child process gets: no secrets."""


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image, upright, scaled to the requested size."""

    image: Image.Image
    """8-bit RGB."""
    width: int
    """Width of the upright image before scaling, in pixels."""
    height: int
    """Height of the upright image before scaling, in pixels."""
    notes: Sequence[str] = ()
    """What the client should know about the file."""


class DecodingPool:
    """Up to MASKQ_DECODE_PROCESSES child processes, started when first needed. Thread-safe."""

    def __init__(self, settings: ImageSettings) -> None:
        self._settings = settings
        self._free = threading.BoundedSemaphore(settings.decode_processes)
        self._idle: list[_Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the idle children. Busy ones end by themselves once their pipes are closed."""
        with suppress(IndexError):
            while True:
                self._idle.pop().end()

    def decode(self, data: bytes, size: tuple[int, int]) -> DecodedImage:
        """Decode an image as `decode` does, and scale it (bicubic) to `size`, which is (width, height) in pixels.

        Raises:
            UnsupportedImage, ImageTooLarge, ImageUnreadable: as `decode`; the last also if decoding takes too
                much time or memory, or crashes the child.
        """
        with self._free:
            try:
                return self._decode(data, size)
            except _ChildLost:
                pass  # another cause than this image may have killed it
            try:
                return self._decode(data, size)
            except _ChildLost:
                raise ImageUnreadable("its decoder crashed") from None

    def _decode(self, data: bytes, size: tuple[int, int]) -> DecodedImage:
        with self._child() as child:
            reply, pixels = child.request(data, self._settings.max_image_pixels, size)
        if "error" in reply:
            raise _REFUSALS.get(reply["error"], ImageUnreadable)(reply["detail"])
        return DecodedImage(Image.frombytes("RGB", size, pixels), reply["width"], reply["height"], reply["notes"])

    @contextmanager
    def _child(self) -> Iterator[_Child]:
        """A child for one request. It is kept for later requests only if this one got a reply."""
        try:
            child = self._idle.pop()
        except IndexError:  # a check of the length first would race with other threads
            child = _Child(self._settings)
        try:
            yield child
        except BaseException:
            child.end()
            raise
        self._idle.append(child)


class _ChildLost(Exception):
    """The child process ended before it replied."""


class _Child:
    """One child process and the pipes to it."""

    def __init__(self, settings: ImageSettings) -> None:
        limits = [str(settings.decode_memory_bytes), str(settings.decode_cpu_s)]
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._timeout_s = settings.decode_cpu_s * _WALL_TIME_FACTOR
        self._process = subprocess.Popen(  # noqa: S603  no part of the command comes from a client
            [sys.executable, "-m", "shared.images.sandbox_child", *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            env={**environment, "PYTHONPATH": str(_ROOT)},
            start_new_session=True,  # Ctrl-C must reach only the parent
        )

    def request(self, data: bytes, max_pixels: int, size: tuple[int, int]) -> tuple[dict[str, Any], bytes]:
        """Have an image decoded. Returns the head of the reply and, unless that holds an error, the pixels.

        Raises:
            ImageUnreadable: decoding took more CPU time than allowed.
            _ChildLost: the child ended for another reason.
        """
        width, height = size
        request = {"bytes": len(data), "max_pixels": max_pixels, "size": size}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        timeout = threading.Timer(self._timeout_s, self._process.kill)
        timeout.start()
        try:
            stdin.write(json.dumps(request).encode() + b"\n" + data)
            stdin.flush()
            head = json.loads(stdout.readline() or "null")
            pixels = b"" if head is None or "error" in head else stdout.read(width * height * 3)
        except BrokenPipeError:
            head, pixels = None, b""
        finally:
            timeout.cancel()
        if head is None or ("error" not in head and len(pixels) < width * height * 3):
            self._raise_cause_of_end()
        return head, pixels

    def _raise_cause_of_end(self) -> None:
        if self._process.wait(self._timeout_s) == -signal.SIGXCPU:
            raise ImageUnreadable("it takes longer to decode than an image may")
        raise _ChildLost

    def end(self) -> None:
        """Kill the process and close its pipes."""
        self._process.kill()
        self._process.communicate()
