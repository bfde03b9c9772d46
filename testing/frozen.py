"""Freezes a worker as a whole: its job processes stop together with it, as those of a container or a machine do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import psutil

from local.supervisor import SupervisedProcess


def children_of(process: SupervisedProcess) -> list[psutil.Process]:
    """The processes that a process has started and that run: the job processes of a worker."""
    with suppress(psutil.NoSuchProcess):
        if process.process is not None:
            return psutil.Process(process.process.pid).children()
    return []


def freeze_with_children(process: SupervisedProcess) -> Callable[[], None]:
    """Stop a process and its children in the middle of what they do, with SIGSTOP. Returns what lets them go on; it
    does nothing to those that have ended."""
    frozen = process.process
    process.freeze()  # before it is asked for its children, so that none is added
    children = children_of(process)
    _each(children, lambda child: child.suspend())

    def resume() -> None:
        _each(children, lambda child: child.resume())
        if process.process is frozen:  # and not one started since
            process.resume()

    return resume


def resume_with_children(process: SupervisedProcess) -> None:
    """Let a process and its children go on, if they are frozen."""
    _each(children_of(process), lambda child: child.resume())
    process.resume()


def _each(processes: Sequence[psutil.Process], act: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # psutil knows whether another process has its id now
            act(process)
