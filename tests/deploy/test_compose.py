"""The container files are valid and set what the documentation says. `tests/e2e/compose` runs them on a real engine."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.settings import Settings
from testing.servers import require_program
from tests.deploy.memory import front_end_bytes

_FILES = {
    "cpu": ["docker-compose.yml"],
    "gpu": ["docker-compose.yml", "docker-compose.gpu.yml"],
    "monitoring": ["docker-compose.yml", "docker-compose.monitoring.yml"],
}
_MONITORING = {"prometheus", "grafana"}


@pytest.fixture(params=_FILES)
def compose(request: pytest.FixtureRequest, root: Path) -> dict[str, Any]:
    """The configuration that docker-compose reads from the files."""
    return _config(root, *_FILES[request.param])


def _config(root: Path, *files: str, profiles: Sequence[str] = ()) -> dict[str, Any]:
    words = [word for name in files for word in ("--file", name)]
    words += [word for name in profiles for word in ("--profile", name)]
    command = [require_program("docker-compose"), *words, "config"]
    shown = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr
    config: dict[str, Any] = yaml.safe_load(shown.stdout)
    return config


@pytest.mark.docker
def test_compose_accepts_the_files_and_has_all_services(compose: dict[str, Any]) -> None:
    assert _kinds(compose["services"]) - _MONITORING == {"secrets", "redis", "api", "proxy", "webhooks", "worker"}


def _kinds(services: Iterable[str]) -> set[str]:
    """Names of services, without the number of a GPU: `worker-1` is `worker`."""
    return {name.partition("-")[0] for name in services}


@pytest.mark.docker
def test_no_container_has_more_rights_than_it_needs(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.docker
def test_only_the_proxy_is_published_and_only_to_this_machine(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert set(published) - _MONITORING == {"proxy"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


@pytest.mark.docker
def test_only_services_that_need_redis_can_reach_it(compose: dict[str, Any]) -> None:
    assert compose["networks"]["store"]["internal"] is True
    assert set(compose["services"]["redis"]["networks"]) == {"store"}
    inside = {name for name, service in compose["services"].items() if "store" in service.get("networks", {})}
    assert _kinds(inside) == {"redis", "api", "webhooks", "worker"}


@pytest.mark.docker
def test_the_workers_of_several_gpus_differ_in_the_gpu_only(root: Path) -> None:
    services = _config(root, *_FILES["gpu"], profiles=["gpus-4"])["services"]
    workers = [service for name, service in services.items() if name.startswith("worker")]
    reserved = [each.pop("deploy")["resources"]["reservations"]["devices"][0]["device_ids"] for each in workers]
    assert sorted(reserved) == [["0"], ["1"], ["2"], ["3"]]
    for each in workers:
        for name in ("build", "networks", "profiles"):
            each.pop(name, None)
        assert each == workers[0]


@pytest.mark.docker
def test_no_password_is_in_an_environment(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert not [key for key in service.get("environment", {}) if "PASSWORD" in key or "REDIS_URL" in key], name


@pytest.mark.docker
def test_a_worker_has_enough_time_to_drain(compose: dict[str, Any]) -> None:
    grace = compose["services"]["worker"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > Settings.of().liveness.drain_s


@pytest.mark.docker
def test_the_memory_limit_of_a_front_end_covers_its_settings(compose: dict[str, Any]) -> None:
    front = compose["services"]["api"]
    limit = int(front["deploy"]["resources"]["limits"]["memory"].removesuffix("g")) * 2**30
    assert front_end_bytes(front["environment"]) < limit


@pytest.mark.docker
def test_redis_writes_to_disk_before_it_acknowledges(compose: dict[str, Any]) -> None:
    command = compose["services"]["redis"]["command"]
    for words in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert words in (command if isinstance(command, str) else " ".join(command))


@pytest.mark.docker
def test_the_number_of_workers_can_be_changed(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    assert "container_name" not in worker
    assert "ports" not in worker


@pytest.mark.parametrize("name", ["Dockerfile.api", "Dockerfile.worker"])
def test_dockerfiles_pass_the_linter(root: Path, name: str) -> None:
    program = Path(sys.executable).with_name("hadolint")
    result = subprocess.run([program, root / name], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["Dockerfile.api", "Dockerfile.worker"])
def test_containers_run_as_an_unprivileged_user(root: Path, name: str) -> None:
    assert "\nUSER 10001\n" in (root / name).read_text()


@pytest.mark.parametrize("name", ["Dockerfile.api", "Dockerfile.worker"])
def test_dockerignore_admits_everything_that_an_image_copies(root: Path, name: str) -> None:
    copied = re.findall(r"^COPY ([^-].*) \S+$", (root / name).read_text(), re.MULTILINE)
    allowed = set((root / ".dockerignore").read_text().split())
    folders = {word.partition("/")[0] for words in copied for word in words.split()}
    assert {f"!{folder}" for folder in folders} <= allowed


def test_the_image_of_the_front_end_copies_no_worker(root: Path) -> None:
    assert "worker" not in (root / "Dockerfile.api").read_text().split("COPY", 1)[1]


def test_a_change_of_code_does_not_install_torch_again(root: Path) -> None:
    steps = (root / "Dockerfile.worker").read_text()
    assert steps.index("torch==") < steps.index("COPY pyproject.toml") < steps.index("COPY worker worker")


def test_the_proxy_allows_the_body_size_and_waiting_time_of_the_front_end(root: Path) -> None:
    nginx = (root / "deploy/nginx/nginx.conf").read_text()
    settings = Settings.of()
    (megabytes,) = re.findall(r"client_max_body_size (\d+)m;", nginx)
    assert settings.submissions.max_body_bytes < int(megabytes) * 2**20 < 1.1 * settings.submissions.max_body_bytes
    (read_s,) = re.findall(r"proxy_read_timeout (\d+)s;", nginx)
    assert int(read_s) > settings.http.max_wait_s
