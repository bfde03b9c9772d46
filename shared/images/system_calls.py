"""Lets the kernel refuse all system calls of this process but those named, with libseccomp."""

from __future__ import annotations

import ctypes
import errno
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LIBRARY = "libseccomp.so.2"
"""Debian has it for apt, so every image that is made from Debian has it."""
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.ENOSYS
"""As if the kernel did not have the call: glibc then uses `clone`, whose arguments can be checked, for `clone3`."""
_MASKED_EQUAL = 7
_ALL_BITS = 2**64 - 1
_UNKNOWN = -1
"""The number of a system call that this version of libseccomp does not know."""


@dataclass(frozen=True)
class Argument:
    """A condition on an argument of a system call: its bits under `mask` are `value`."""

    position: int
    value: int
    mask: int = _ALL_BITS


_CLONE_THREAD, _CLONE_NEW = 0x10000, 0x7E020000
_THREAD = Argument(0, _CLONE_THREAD, mask=_CLONE_THREAD | _CLONE_NEW)
"""Neither a process nor name spaces of its own."""
_NOT_EXECUTABLE = Argument(2, 0, mask=mmap.PROT_EXEC) if hasattr(mmap, "PROT_EXEC") else None

DECODING: Mapping[str, Argument | None] = {
    "read": Argument(0, 0),  # requests, from standard input
    "write": Argument(0, 1),  # replies, to standard output
    "mmap": _NOT_EXECUTABLE,
    "mprotect": _NOT_EXECUTABLE,
    **dict.fromkeys(("brk", "munmap", "mremap", "madvise")),
    "clone": _THREAD,  # the decoder of HEIC starts one
    **dict.fromkeys(("futex", "set_robust_list", "rseq", "gettid", "sched_yield", "sched_getaffinity")),
    **dict.fromkeys(("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall")),
    **dict.fromkeys(("clock_gettime", "gettimeofday", "getrandom", "getpid")),
    "getrusage": None,  # the CPU time used until now
    "prlimit64": Argument(0, 0),  # the limit on CPU time, of this process only
    **dict.fromkeys(("exit", "exit_group")),
}
"""All that decoding needs, by name, and on which condition. No files, sockets, processes or signals."""


class _Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp` of seccomp.h. For a masked comparison, `a` is the mask and `b` the value."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def allow_only(rules: Mapping[str, Argument | None]) -> bool:
    """From now on, other system calls of this process fail. It cannot be undone, and every thread inherits it.

    libseccomp knows the numbers of the calls on every processor; a call that it does not know stays refused. Returns
    False if this is not Linux, if the library is not installed, or if the kernel refuses.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    library.seccomp_init.restype = ctypes.c_void_p
    filter_ = ctypes.c_void_p(library.seccomp_init(_REFUSE))
    if not filter_:
        return False
    added = all(_add(library, filter_, name, argument) for name, argument in rules.items())
    return bool(added and library.seccomp_load(filter_) == 0)


def _add(library: Any, filter_: ctypes.c_void_p, name: str, argument: Argument | None) -> bool:
    number = library.seccomp_syscall_resolve_name(name.encode())
    conditions = [] if argument is None else [_comparison(argument)]
    comparisons = (_Comparison * len(conditions))(*conditions)
    add = library.seccomp_rule_add_array
    if number == _UNKNOWN:
        return True
    return bool(add(filter_, ctypes.c_uint(_ALLOW), number, len(conditions), comparisons) == 0)


def _comparison(argument: Argument) -> _Comparison:
    return _Comparison(argument.position, _MASKED_EQUAL, argument.mask, argument.value)
