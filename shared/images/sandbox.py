"""Decodes images in child processes, so that no image can crash or block the process that needs its pixels."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, NoReturn, Self, TypeVar

from PIL import Image
from pydantic import BaseModel, PositiveInt, TypeAdapter, ValidationError

from shared.domain.tiles import NONE, picture_views
from shared.errors import ImageTooLarge, ImageUnreadable, UnsupportedImage
from shared.images.fair_slots import FairSlots
from shared.images.time_limit import TimeLimit
from shared.settings import ImageSettings

_REFUSALS = {error.type: error for error in (UnsupportedImage, ImageTooLarge, ImageUnreadable)}
_WALL_TIME_FACTOR = 6
"""Seconds to wait for a reply, per second of CPU time an image may take: the machine may be busy, the child frozen."""
_CHANNELS = 3
_ROOT = Path(__file__).parents[2]
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
"""The only environment variables that a child process gets: no secrets."""
_MAX_HEAD_BYTES = 4_000
_PIPE_BYTES = 1 << 20
"""What a pipe holds, if the system allows it: the most that Linux gives to all. A reply then waits for nobody, and a
file of 3 MB for three reads instead of fifty."""
_END_S = 1.0
"""How long a process may take to end after it closed its pipes."""
_TIME_LIMIT = TimeLimit()
_Head = TypeVar("_Head")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image, upright, scaled to the requested size."""

    image: Image.Image
    """8-bit RGB."""
    width: int
    """Width of the upright image before scaling, in pixels."""
    height: int
    """Height of the upright image before scaling, in pixels."""
    tiles: tuple[Image.Image, ...] = ()
    """The tiles in the order of `picture_views`, each scaled to the requested size."""
    notes: Sequence[str] = ()
    """What the client should know about the file."""


class DecodingPool:
    """Up to MASKQ_DECODE_PROCESSES child processes, started when first needed. Thread-safe."""

    def __init__(self, settings: ImageSettings) -> None:
        self._settings = settings
        self._slots = FairSlots(settings.decode_processes)
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

    def decode(self, data: bytes, size: tuple[int, int], tiles: str = NONE, client: str = "") -> DecodedImage:
        """Decode an image as `decode` does, and scale it (bicubic) to `size`, which is (width, height) in pixels.
        Its `tiles`, one of `tiles.CHOICES`, are scaled to the same size. Clients get the children in turns.

        Raises:
            UnsupportedImage, ImageTooLarge, ImageUnreadable: as `decode`; the last also if decoding takes too
                much time or memory, or crashes the child.
        """
        with self._slots.held(client):
            try:
                return self._decode(self._idle_child() or _Child(self._settings), data, size, tiles)
            except _ChildLost as loss:  # another cause than this image may have ended it
                logger.warning("%s; the image is decoded again", loss)
            try:
                return self._decode(_Child(self._settings), data, size, tiles)
            except _ChildLost:
                raise ImageUnreadable("its decoder crashed") from None

    def _idle_child(self) -> _Child | None:
        """A child that still lives. Those that were killed while they were idle are dropped."""
        with suppress(IndexError):  # a check of the length first would race with other threads
            while True:
                child = self._idle.pop()
                if child.is_alive():
                    return child
                child.end()
        return None

    def _decode(self, child: _Child, data: bytes, size: tuple[int, int], tiles: str) -> DecodedImage:
        """Have a child decode an image. It is kept for later requests only if this one got a reply."""
        try:
            reply, views = child.request(data, size, tiles)
        except BaseException:
            child.end()
            raise
        self._idle.append(child)
        if isinstance(reply, _Refusal):
            raise _REFUSALS.get(reply.error, ImageUnreadable)(reply.detail)
        whole, *others = [Image.frombytes("RGB", size, pixels) for pixels in views]
        return DecodedImage(whole, reply.width, reply.height, tuple(others), reply.notes)


class _Refusal(BaseModel):
    """The head of a reply without pixels."""

    error: str
    detail: str


class _Size(BaseModel):
    """The head of a reply that is followed by pixels."""

    width: PositiveInt
    height: PositiveInt
    notes: list[str]


class _Start(BaseModel):
    """The first line of a child."""

    isolation: list[str]


_REPLY: TypeAdapter[_Refusal | _Size] = TypeAdapter(_Refusal | _Size)
_START = TypeAdapter(_Start)


class _ChildLost(Exception):
    """The child process ended before it replied, or sent something else than a reply: an image may have taken it over.
    The message says how it ended."""


class _Child:
    """One child process and the pipes to it."""

    def __init__(self, settings: ImageSettings) -> None:
        """Start it, and wait until it is ready.

        Raises:
            OSError: it could not start, which is the fault of no image.
        """
        limits = [str(settings.decode_memory_bytes), str(settings.decode_cpu_s)]
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        self._timeout_s = settings.decode_cpu_s * _WALL_TIME_FACTOR
        self._rules = {"max_pixels": settings.max_image_pixels, "exact": settings.decode_exact}
        # Nothing ties it to the life of its parent but its pipes: a signal of the kernel at the parent's death would
        # come at the end of the thread that started it.
        self._process = subprocess.Popen(  # noqa: S603  no part of the command comes from a client
            [sys.executable, "-m", "shared.images.sandbox_child", *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            env={**environment, "PYTHONPATH": str(_ROOT)},
            start_new_session=True,  # Ctrl-C must reach only the parent
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        _enlarge(self._stdin)
        _enlarge(self._stdout)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        try:
            with self._limited_time():
                start = self._read_head(_START)
        except _ChildLost as loss:
            self.end()
            raise ChildProcessError(f"a process that decodes images could not start: {loss}") from None
        _log_isolation(tuple(start.isolation))

    def is_alive(self) -> bool:
        """Whether the process runs. It may end any time."""
        return self._process.poll() is None

    def request(self, data: bytes, size: tuple[int, int], tiles: str) -> tuple[_Refusal | _Size, list[bytes]]:
        """Have an image decoded. Returns the head of the reply, and if it is a size, the pixels of the image and of its
        tiles.

        Raises:
            ImageUnreadable: decoding took more CPU time than allowed.
            _ChildLost: the child ended for another reason.
        """
        request = {"bytes": len(data), "size": size, "tiles": tiles, **self._rules}
        with self._limited_time():
            self._send(json.dumps(request).encode() + b"\n", data)
            head = self._read_head(_REPLY)
            if isinstance(head, _Refusal):
                return head, []
            if head.width * head.height > self._rules["max_pixels"]:
                self._raise_cause_of_end()
            views = [self._read_pixels(size) for _ in picture_views(tiles, head.width, head.height)]
        return head, views

    def _read_pixels(self, size: tuple[int, int]) -> bytes:
        count = math.prod(size) * _CHANNELS
        pixels = self._stdout.read(count)
        if len(pixels) < count:
            self._raise_cause_of_end()
        return pixels

    def _send(self, *parts: bytes) -> None:
        try:
            for part in parts:
                self._stdin.write(part)
            self._stdin.flush()
        except BrokenPipeError:
            self._raise_cause_of_end()

    def _read_head(self, kind: TypeAdapter[_Head]) -> _Head:
        try:
            return kind.validate_json(self._stdout.readline(_MAX_HEAD_BYTES))
        except ValidationError:
            self._raise_cause_of_end()

    @contextmanager
    def _limited_time(self) -> Iterator[None]:
        with _TIME_LIMIT.limit(self._process, self._timeout_s):
            yield

    def _raise_cause_of_end(self) -> NoReturn:
        try:
            status = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            raise _ChildLost("a process that decodes images sent something else than a reply") from None
        if status == -signal.SIGXCPU:
            raise ImageUnreadable("it takes longer to decode than an image may")
        raise _ChildLost(f"a process that decodes images ended with status {status}")

    def end(self) -> None:
        """Kill the process and close its pipes."""
        self._process.kill()
        self._process.communicate()


def _enlarge(pipe: IO[bytes]) -> None:
    """Let a pipe hold `_PIPE_BYTES`. It stays as it is where there is no such call, or if this user's pipes have too
    much."""
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


@cache
def _log_isolation(protections: tuple[str, ...]) -> None:
    """Once per process."""
    level = logging.INFO if "system calls" in protections else logging.WARNING
    logger.log(level, "images are decoded in processes isolated by: %s", ", ".join(protections))
