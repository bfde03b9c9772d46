"""Calls in threads of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
ArgumentT = TypeVar("ArgumentT")


def in_thread(function: Callable[[ArgumentT], T], argument: ArgumentT) -> Future[T]:
    """Call a function in a thread that does not keep the process alive, as those of a pool would."""
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(function(argument))
        except BaseException as error:  # who waits for the future raises it
            future.set_exception(error)

    threading.Thread(target=work, name="maskq", daemon=True).start()
    return future
