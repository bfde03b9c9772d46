"""What a process that decodes images cannot do, tried in a process that isolated itself the same way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

_PROGRAM = """
import ctypes, json, mmap, os, resource, signal, socket, sys, time
from shared.images import sandbox_child
from shared.images.isolation import isolate

parent = int(sys.argv[1])
folder = sys.argv[2]
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(64)

def called(function, *arguments):
    if function(*arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def forked(fork, *arguments):
    process = fork(*arguments)
    if process == 0:
        os._exit(0)
    if process == -1:
        raise OSError("no process")

ATTEMPTS = {
    "read a file": lambda: open("/etc/passwd"),
    "read the environment of the parent": lambda: open(f"/proc/{parent}/environ"),
    "read the memory of the parent": lambda: open(f"/proc/{parent}/mem", "rb"),
    "read its own environment": lambda: open("/proc/self/environ"),
    "write a file": lambda: open(f"{folder}/new", "w"),
    "delete a file": lambda: os.unlink(f"{folder}/there"),
    "rename a file": lambda: os.rename(f"{folder}/there", f"{folder}/other"),
    "make a folder": lambda: os.mkdir(f"{folder}/made"),
    "make a link": lambda: os.symlink("/etc", f"{folder}/link"),
    "change the rights of a file": lambda: os.chmod(f"{folder}/there", 0o777),
    "see whether a file exists": lambda: os.stat(f"{folder}/there"),
    "list a folder": lambda: os.listdir(folder),
    "change the folder": lambda: os.chdir("/"),
    "open a socket": lambda: socket.socket(),
    "open a socket of the machine": lambda: socket.socket(socket.AF_UNIX),
    "open a socket to the kernel": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "connect sockets": lambda: socket.socketpair(),
    "make a pipe": lambda: os.pipe(),
    "copy a descriptor": lambda: os.dup(0),
    "make a file in memory": lambda: os.memfd_create("file"),
    "write to the log": lambda: os.write(2, b"forged"),
    "read replies": lambda: os.read(1, 1),
    "fork": lambda: forked(os.fork),
    "fork with shared memory": lambda: forked(libc.vfork),
    "fork without signals": lambda: called(libc.syscall, 56 if os.uname().machine == "x86_64" else 220, 0, 0, 0, 0, 0),
    "clone as programs do now": lambda: called(libc.syscall, 435, buffer, 88),
    "run a program": lambda: os.execv("/bin/true", ["true"]),
    "ask whether the parent lives": lambda: os.kill(parent, 0),
    "stop itself": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "kill the group of the parent": lambda: os.killpg(parent, signal.SIGCONT),
    "trace the parent": lambda: called(libc.ptrace, 16, parent, 0, 0),
    "be traced": lambda: called(libc.ptrace, 0, 0, 0, 0),
    "read memory of the parent": lambda: called(libc.process_vm_readv, parent, buffer, 1, buffer, 1, 0),
    "limit the parent": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE, (1, 1)),
    "read limits of the parent": lambda: resource.prlimit(parent, resource.RLIMIT_NOFILE),
    "slow the parent": lambda: os.setpriority(os.PRIO_PROCESS, parent, 19),
    "bind the parent to a processor": lambda: os.sched_setaffinity(parent, {0}),
    "get shared memory": lambda: called(libc.shmget, 0, 4096, 0o1600),
    "ask the kernel for asynchronous calls": lambda: called(libc.syscall, 425, 1, buffer),
    "open a process": lambda: called(libc.syscall, 434, parent, 0),
    "make executable memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC),
    "make memory executable": lambda: called(libc.mprotect, ctypes.addressof(buffer) & ~4095, 4096, 7),
    "become another user": lambda: os.setuid(65534),
    "change the root": lambda: os.chroot("/"),
    "get its own name spaces": lambda: called(libc.unshare, 0x10000000),
    "mount": lambda: called(libc.mount, b"none", b"/mnt", b"tmpfs", 0, None),
    "sleep": lambda: time.sleep(0.01),
    "import a module": lambda: __import__("wave"),
    "lift its filter": lambda: called(libc.prctl, 22, 0, 0, 0, 0),
    "be dumped": lambda: called(libc.prctl, 4, 1, 0, 0, 0),
}

def outcome(attempt):
    try:
        attempt()
    except (OSError, RuntimeError, ImportError) as error:
        return type(error).__name__
    return "succeeded"

in_force = isolate(1_000_000_000)
sys.stdout.write(json.dumps([in_force, {name: outcome(attempt) for name, attempt in ATTEMPTS.items()}]))
"""


def test_an_isolated_process_can_do_nothing_but_compute_and_answer(root: Path, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("content")
    protections, outcomes = _isolated(root, _PROGRAM, str(os.getpid()), str(tmp_path))
    assert protections == ["limits", "system calls"]
    assert len(outcomes) > 40
    assert {name: each for name, each in outcomes.items() if each == "succeeded"} == {}
    assert [each.name for each in tmp_path.iterdir()] == ["there"]


def test_an_isolated_process_can_start_threads(root: Path) -> None:
    """Decoders may, for example that of HEIC. Also if it is not root, whose threads would count as processes."""
    program = """
import json, os, sys, threading
from shared.images import sandbox_child
from shared.images.isolation import isolate
if os.geteuid() == 0:
    os.setgid(10001); os.setuid(10001)
in_force, done = isolate(1_000_000_000), []
thread = threading.Thread(target=lambda: done.append(True))
thread.start()
thread.join()
sys.stdout.write(json.dumps([in_force, {"done": done}]))
"""
    assert _isolated(root, program)[1] == {"done": [True]}


def test_without_a_filter_it_still_has_limits(root: Path) -> None:
    program = """
import json, os, resource, socket, sys
from shared.images import isolation
isolation.allow_only = lambda rules: False
in_force = isolation.isolate(1_000_000_000)
refused = []
for attempt in (lambda: open("/etc/passwd"), socket.socket, os.pipe):
    try:
        attempt()
    except OSError:
        refused.append(True)
processes = resource.getrlimit(resource.RLIMIT_NPROC)
sys.stdout.write(json.dumps([in_force, {"refused": len(refused), "processes": processes}]))
"""
    protections, outcomes = _isolated(root, program)
    assert (protections, outcomes) == (["limits"], {"refused": 3, "processes": [0, 0]})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become the user that images run as")
def test_an_ordinary_user_is_isolated_as_well(root: Path, tmp_path: Path) -> None:
    program = _PROGRAM.replace("in_force", "os.setgid(10001); os.setuid(10001); in_force", 1)
    protections, outcomes = _isolated(root, program, str(os.getpid()), str(tmp_path))
    assert protections == ["limits", "system calls"]
    assert "succeeded" not in outcomes.values()


def _isolated(root: Path, program: str, *arguments: str) -> tuple[list[str], dict[str, Any]]:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, check=True, timeout=60)
    protections, outcomes = json.loads(done.stdout)
    return protections, outcomes
