"""Replacements for the official base images, made from Debian's packages: they need no registry of images.

They have only what the project's files need: `python` and `pip` 3.11, a `redis-server` 7 that runs as user 999 with its
data in /data, and an `nginx` that can run as user 101. They also get the host's configuration of pip (certificates,
mirrors, folders of wheels), so that the project's own files need none of it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.e2e.compose.shell import run

PYTHON, REDIS, NGINX = "python:3.11-slim", "redis:7", "nginx:1"
_SUITE = "bookworm"
"""Debian 12, which has Python 3.11 and Redis 7."""
_UNREAD = ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/cache/apt", "var/lib/apt/lists")
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_WHEELS_PORT = 18_099
"""Always the same port: it is part of a layer, and another port would make the build cache useless."""

_SERVICES = {
    REDIS: """
RUN groupadd --gid 999 redis && useradd --uid 999 --gid 999 redis \\
    && apt-get update && apt-get install --yes --no-install-recommends redis-server redis-tools \\
    && install --directory --owner 999 --group 999 /data
WORKDIR /data
VOLUME /data
""",
    NGINX: """
RUN groupadd --gid 101 nginx && useradd --uid 101 --gid 101 nginx \\
    && apt-get update && apt-get install --yes --no-install-recommends nginx-light
CMD ["nginx", "-g", "daemon off;"]
""",
}


def make_bases(folder: Path) -> None:
    """Make the base images that the engine does not have yet."""
    if not _has(PYTHON):
        root = folder / "root"
        if not root.exists():
            run(["debootstrap", "--variant=minbase", "--include=ca-certificates,python3,python3-pip", _SUITE, root])
        _like_the_official_python(root)
        _import(root, PYTHON)
    for name, steps in _SERVICES.items():
        if not _has(name):
            run(["docker", "build", "--network", "host", "--tag", name, "-"], stdin=f"FROM {PYTHON}\n{steps}")


def _has(image: str) -> bool:
    return bool(run(["docker", "images", "--quiet", image]).strip())


def _like_the_official_python(root: Path) -> None:
    for name in _UNREAD:
        run(["rm", "-rf", root / name])
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    link = root / "usr/local/bin/python"
    link.unlink(missing_ok=True)
    link.symlink_to("/usr/bin/python3")
    (root / _CERTIFICATES.relative_to("/")).write_bytes(_CERTIFICATES.read_bytes())
    (root / "etc/pip.conf").write_text(_pip_conf())


def _import(root: Path, name: str) -> None:
    with subprocess.Popen(["tar", "--create", "--one-file-system", "-C", root, "."], stdout=subprocess.PIPE) as tar:
        run_import = ["docker", "import", "--change", 'CMD ["python"]', "-", name]
        subprocess.run(run_import, stdin=tar.stdout, check=True, capture_output=True)


@contextmanager
def served_wheels(folder: Path) -> Iterator[None]:
    """Serve the folders of wheels in the configuration of the host's pip, for builds on the host's network."""
    links = folder / "wheels"
    links.mkdir(exist_ok=True)
    for number, wheels in enumerate(_wheel_folders()):
        (links / str(number)).unlink(missing_ok=True)
        (links / str(number)).symlink_to(wheels)
    with ThreadingHTTPServer(("127.0.0.1", _WHEELS_PORT), partial(_QuietHandler, directory=links)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Log nothing."""


def _pip_conf() -> str:
    """The configuration of the host's pip for a container: folders of wheels as URLs, no other local paths."""
    found = [f"http://127.0.0.1:{_WHEELS_PORT}/{number}/" for number, _ in enumerate(_wheel_folders())]
    lines = ["[global]", f"cert = {_CERTIFICATES}", "timeout = 180"]
    lines += [f"index-url = {url}" for url in _pip_values("index-url") if not url.startswith("file:")]
    return "\n".join([*lines, *([f"find-links = {' '.join(found)}"] if found else [])]) + "\n"


def _wheel_folders() -> list[str]:
    return [value for value in dict.fromkeys(_pip_values("find-links")) if Path(value).is_dir()]


def _pip_values(name: str) -> list[str]:
    """Every value of a setting of the host's pip, from all its configuration files and variables."""
    listed = run([sys.executable, "-m", "pip", "config", "list"])
    lines = (line.partition("=") for line in listed.splitlines())
    return [word for key, _, value in lines if key.endswith(f".{name}") for word in value.strip("'").split()]
