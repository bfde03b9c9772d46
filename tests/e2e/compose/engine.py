"""A Docker engine for the trials only, with all its data in one folder. Installs Debian's engine if there is none."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.compose.shell import CannotRun, TrialFailed, run, wait_until

_PACKAGES = {"dockerd": "docker.io", "debootstrap": "debootstrap"}
_INSTALL_COMPOSE = Path(__file__).with_name("install-compose")
_START_S = 60.0


@contextmanager
def own_engine(folder: Path) -> Iterator[None]:
    """Run an engine for the duration of the context. `docker` uses it through DOCKER_HOST, with Compose v2.

    It leaves the host's firewall as it is: containers reach each other, and the host reaches published ports.

    Raises:
        CannotRun: the user is not root, the system is not Debian, or the kernel cannot run containers.
    """
    _install_missing()
    run([_INSTALL_COMPOSE, folder / "config/cli-plugins"])
    address = f"unix://{folder}/docker.sock"
    command = ["dockerd", "--host", address, "--iptables=false", "--data-root", str(folder / "data")]
    command += ["--exec-root", str(folder / "exec"), "--pidfile", str(folder / "docker.pid")]
    with (folder / "dockerd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    os.environ |= {"DOCKER_HOST": address, "DOCKER_CONFIG": str(folder / "config")}
    try:
        _wait_for_engine(process, folder)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_START_S)
        del os.environ["DOCKER_HOST"], os.environ["DOCKER_CONFIG"]


def _install_missing() -> None:
    missing = [package for program, package in _PACKAGES.items() if shutil.which(program) is None]
    if os.geteuid() != 0:
        raise CannotRun("only root can start an engine")
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise CannotRun(f"{', '.join(missing)} not found, and there is no apt-get to install them")
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
