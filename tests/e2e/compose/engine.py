"""A Docker engine of the trial's own, all in one folder. Debian's is installed where there is none."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.compose.shell import CannotRun, TrialFailed, run, wait_until

_PACKAGES = {"dockerd": "docker.io", "docker-compose": "docker-compose", "debootstrap": "debootstrap"}
_START_S = 60.0


@contextmanager
def own_engine(folder: Path) -> Iterator[None]:
    """Run an engine for as long as the context lasts, and make `docker` and `docker-compose` speak to it.

    It does not touch the host's firewall: containers reach each other, and the host reaches what they publish.

    Raises:
        CannotRun: not root, not Debian, or the kernel has not what containers need.
    """
    _install_missing()
    address = f"unix://{folder}/docker.sock"
    command = ["dockerd", "--host", address, "--iptables=false", "--data-root", str(folder / "data")]
    command += ["--exec-root", str(folder / "exec"), "--pidfile", str(folder / "docker.pid")]
    with (folder / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    os.environ["DOCKER_HOST"] = address
    try:
        _wait_for_engine(process, folder)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_START_S)
        del os.environ["DOCKER_HOST"]


def _install_missing() -> None:
    missing = [package for program, package in _PACKAGES.items() if shutil.which(program) is None]
    if os.geteuid() != 0:
        raise CannotRun("an engine can be started by root only")
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise CannotRun(f"{', '.join(missing)} not found, and this is not a Debian that could install them")
    run(["apt-get", "update", "-qq"])
    run(["apt-get", "install", "--yes", "-qq", *missing], env={"DEBIAN_FRONTEND": "noninteractive"})


def _wait_for_engine(process: subprocess.Popen[bytes], folder: Path) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise CannotRun(f"the engine does not start here; {folder / 'dockerd.log'} ends with:\n{_tail(folder)}")
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0

    try:
        wait_until(answers, "the engine", _START_S)
    except TrialFailed as error:
        raise CannotRun(str(error)) from None


def _tail(folder: Path) -> str:
    return "\n".join((folder / "dockerd.log").read_text("utf-8", "replace").splitlines()[-5:])
