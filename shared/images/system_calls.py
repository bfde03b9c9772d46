"""Lets the kernel refuse all system calls of this process but those named, with libseccomp."""

from __future__ import annotations

import ctypes
import errno
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LIBRARY = "libseccomp.so.2"
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000 | errno.EPERM
_ABSENT = 0x00050000 | errno.ENOSYS
_CLONE3 = "clone3"
"""It passes its flags in memory, which a filter cannot read. If the kernel does not have it, libraries use clone."""
_THREAD = 0x00010000
"""The flag of clone for a thread, CLONE_THREAD."""
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


_NOT_EXECUTABLE = Argument(2, 0, mask=mmap.PROT_EXEC) if hasattr(mmap, "PROT_EXEC") else None

DECODING: Mapping[str, Argument | None] = {
    "read": Argument(0, 0),  # requests, from standard input
    "write": Argument(0, 1),  # replies, to standard output
    "mmap": _NOT_EXECUTABLE,
    "mprotect": _NOT_EXECUTABLE,
    **dict.fromkeys(("brk", "munmap", "mremap", "madvise")),
    "futex": None,  # locks of Python
    **dict.fromkeys(("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall")),
    **dict.fromkeys(("clock_gettime", "gettimeofday", "getrandom", "getpid")),
    "getrusage": None,  # the CPU time used until now
    "prlimit64": Argument(0, 0),  # the limit on CPU time, of this process only
    "clone": Argument(0, _THREAD, mask=_THREAD),  # the decoder of HEIC starts a thread; it has the same filter
    **dict.fromkeys(("rseq", "set_robust_list")),  # of a new thread
    **dict.fromkeys(("exit", "exit_group")),
}
"""All that decoding needs, by name, and on which condition. No files, sockets, processes or signals."""


class _Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp` of seccomp.h. For a masked comparison, `a` is the mask and `b` the value."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def allow_only(rules: Mapping[str, Argument | None]) -> bool:
    """From now on, other system calls of this process fail with EPERM. It cannot be undone, and children inherit it.

    libseccomp knows the numbers of the calls on every processor. Returns False if this is not Linux, if the library is
    not installed, or if the kernel refuses.
    """
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    library.seccomp_init.restype = ctypes.c_void_p
    filter_ = ctypes.c_void_p(library.seccomp_init(_REFUSE))
    if not filter_:
        return False
    added = all(_add(library, filter_, name, argument) for name, argument in rules.items())
    library.seccomp_rule_add_array(filter_, _ABSENT, library.seccomp_syscall_resolve_name(_CLONE3.encode()), 0, None)
    return bool(added and library.seccomp_load(filter_) == 0)


def _add(library: Any, filter_: ctypes.c_void_p, name: str, argument: Argument | None) -> bool:
    number = library.seccomp_syscall_resolve_name(name.encode())
    conditions = [] if argument is None else [_comparison(argument)]
    comparisons = (_Comparison * len(conditions))(*conditions)
    add = library.seccomp_rule_add_array
    added = number != _UNKNOWN and add(filter_, ctypes.c_uint(_ALLOW), number, len(conditions), comparisons) == 0
    return bool(added)


def _comparison(argument: Argument) -> _Comparison:
    return _Comparison(argument.position, _MASKED_EQUAL, argument.mask, argument.value)
