"""Takes from this process all rights that decoding does not need, before it reads the first image."""

from __future__ import annotations

import math
import resource
import sys

from shared.images.system_calls import DECODING, allow_only

_NONE = (
    resource.RLIMIT_CORE,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,  # files that are open stay open
)
"""What this process may have none of."""


def isolate(memory_bytes: int) -> list[str]:
    """Limit this process for good, and return the names of what is in force: `limits`, and `system calls` on Linux.

    From now on it can open no file, also not by importing a module, and no socket, and it can start no process.

    Without the filter of system calls a limit on processes stands in for it. It counts threads, so the decoder of HEIC,
    which starts one, then fails. Root is exempt from it, and processes of the same user may get signals.
    """
    filtered = allow_only(DECODING)  # before the limit on files, as it opens a library
    limit(resource.RLIMIT_AS, memory_bytes)
    for what in _NONE if filtered else (*_NONE, resource.RLIMIT_NPROC):
        limit(what, 0)
    return ["limits", "system calls"] if filtered else ["limits"]


def limit_cpu(cpu_s: int) -> None:
    """Let the kernel end this process with SIGXCPU if the next image takes more CPU time. Wall time would depend on the
    load of the machine."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    limit(resource.RLIMIT_CPU, math.ceil(used.ru_utime + used.ru_stime) + cpu_s, hard)


def limit(what: int, soft: int, hard: int | None = None) -> None:
    """Set a limit, unless the present one is lower. macOS has limits on memory but does not enforce them."""
    _, present = resource.getrlimit(what)
    try:
        if present == resource.RLIM_INFINITY or soft <= present:
            resource.setrlimit(what, (soft, soft if hard is None else hard))
    except (OSError, ValueError):
        sys.stderr.write(f"the limit {what} of the decoder could not be set\n")
