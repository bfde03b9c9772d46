"""The container files are well-formed and keep their promises. Running them on an engine is another test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.servers import require_program


@pytest.fixture(params=[("docker-compose.yml",), ("docker-compose.yml", "docker-compose.gpu.yml")], ids=["cpu", "gpu"])
def compose(request: pytest.FixtureRequest, root: Path) -> dict[str, Any]:
    """What docker-compose makes of the files."""
    program = require_program("docker-compose")
    files = [word for name in request.param for word in ("--file", name)]
    shown = subprocess.run([program, *files, "config"], cwd=root, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    config: dict[str, Any] = yaml.safe_load(shown.stdout)
    return config


@pytest.mark.docker
def test_compose_is_accepted_and_has_the_services(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"redis", "api", "webhooks", "worker"}


@pytest.mark.docker
def test_no_container_has_more_rights_than_it_needs(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.docker
def test_only_the_front_end_is_published_and_only_to_this_machine(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000/tcp"]}


@pytest.mark.docker
def test_redis_keeps_what_it_acknowledged(compose: dict[str, Any]) -> None:
    command = compose["services"]["redis"]["command"]
    for words in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert words in (command if isinstance(command, str) else " ".join(command))


@pytest.mark.docker
def test_workers_can_be_scaled(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    assert "container_name" not in worker
    assert "ports" not in worker


@pytest.mark.parametrize("name", ["Dockerfile.api", "Dockerfile.worker"])
def test_dockerfiles_pass_the_linter(root: Path, name: str) -> None:
    program = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([program, root / name], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["Dockerfile.api", "Dockerfile.worker"])
def test_containers_run_as_nobody_in_particular(root: Path, name: str) -> None:
    assert "\nUSER 10001\n" in (root / name).read_text()


def test_the_front_end_s_image_has_no_torch(root: Path) -> None:
    assert "worker" not in (root / "Dockerfile.api").read_text().split("COPY", 1)[1]
