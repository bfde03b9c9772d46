"""Other processes of the same user cannot read what a program of ours has in its memory and its environment."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import ctypes, os, sys
from shared.process import entry_point

def main():
    if os.geteuid() == 0:
        os.setgroups([]), os.setgid(10001), os.setuid(10001)
        entry_point.make_memory_private()  # a change of the user ended it
    reader = os.fork()
    if reader == 0:
        os._exit(readable(os.getppid()))
    return os.waitstatus_to_exitcode(os.waitpid(reader, 0)[1])

def readable(process):
    names = ("environ", "mem", "maps", "fd/0")
    return sum(bool(opens(f"/proc/{process}/{name}")) << at for at, name in enumerate(names))

def opens(path):
    try:
        os.close(os.open(path, os.O_RDONLY))
    except PermissionError:
        return False
    return True

if sys.argv[1] == "readable":
    entry_point.make_memory_private = lambda: ctypes.CDLL(None).prctl(4, 1)
entry_point.run(main)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
@pytest.mark.parametrize(("memory", "opened"), [("private", 0), ("readable", 0b1111)])
def test_a_program_cannot_be_read_by_a_process_of_the_same_user(root: Path, memory: str, opened: int) -> None:
    """The second case shows that without the protection everything could be opened."""
    command = [sys.executable, "-c", _PROGRAM, memory]
    done = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, timeout=30, check=False)
    assert done.returncode == opened
