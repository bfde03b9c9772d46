"""Ctrl-C, as a question instead of an exception at any moment."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from maskq.typed import Self


class Interrupt:
    """Use as a context. The first Ctrl-C is remembered; a second one raises `KeyboardInterrupt`."""

    def __init__(self) -> None:
        self._came = threading.Event()
        self._before: Any = None

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._take)
        return self

    def __exit__(self, *exc_info: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def has_come(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._came.is_set()

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._came.set()
        signal.signal(signal.SIGINT, self._before)
