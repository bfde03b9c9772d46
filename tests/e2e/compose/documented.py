"""The commands that the documentation shows to operators: each one is run by a trial, as it is written."""

from __future__ import annotations

import re
from pathlib import Path

_PAGES = ("README.md", "docs/*.md", "deploy/**/*.md")
_BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(docker compose [^`]+)`")

NOT_RUN = {
    "gpu": "needs an NVIDIA GPU",
    "monitoring": "Prometheus and Grafana have no substitutes made of Debian's packages",
}
"""Compose files whose services the trials cannot start, with the reason. They go through `docker compose config`."""


def documented_commands(root: Path) -> set[str]:
    """Every command on a page that begins with `docker compose` or `docker run`, without its comment."""
    found: set[str] = set()
    for page in (page for pattern in _PAGES for page in root.glob(pattern)):
        text = page.read_text("utf-8")
        lines = [line.partition(" #")[0].strip() for block in _BLOCK.findall(text) for line in block.splitlines()]
        found |= {line for line in lines if line.startswith(("docker compose ", "docker run "))}
        found |= {" ".join(command.split()) for command in _INLINE.findall(_BLOCK.sub("", text))}
    return found


def documented_files(root: Path) -> set[tuple[str, ...]]:
    """Every combination of compose files that a page or a comment of a compose file shows."""
    found: set[tuple[str, ...]] = {("docker-compose.yml",)}
    for page in (*(page for pattern in _PAGES for page in root.glob(pattern)), *root.glob("docker-compose*.yml")):
        text = page.read_text("utf-8")
        found |= {tuple(each.split(":")) for each in re.findall(r"COMPOSE_FILE=(\S+?\.yml)(?![\w:])", text)}
        found |= {tuple(re.findall(r"-f (\S+)", line)) for line in re.findall(r"docker compose -f .*", text)}
    return found


def cannot_run(command: str) -> bool:
    """Whether a command uses a compose file whose services the trials cannot start."""
    return any(f"docker-compose.{name}.yml" in command for name in NOT_RUN)
