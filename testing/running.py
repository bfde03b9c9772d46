"""Processes that run, by their command lines."""

from contextlib import suppress

import psutil


def running_children(words: str, parent: int | None = None, *, recursive: bool = False) -> list[psutil.Process]:
    """The children of process `parent`, or of this one, whose command line contains `words`, in the order of starting.

    A child that has ended, or ends meanwhile, is left out.
    """
    found = []
    for child in psutil.Process(parent).children(recursive=recursive):
        with suppress(psutil.NoSuchProcess):  # includes those that nobody has waited for yet
            if words in " ".join(child.cmdline()) and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found
