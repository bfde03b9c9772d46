"""The container files are valid and set what the documentation says. `tests/e2e/compose` runs them on a real engine."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.settings import Settings, all_settings, variable_of
from tests.deploy.compose import compose_config, run_config
from tests.deploy.memory import front_end_bytes
from tests.e2e.compose.documented import cannot_run, documented_commands, documented_files

_FILES = {
    "cpu": ["docker-compose.yml"],
    "gpu": ["docker-compose.yml", "docker-compose.gpu.yml"],
    "monitoring": ["docker-compose.yml", "docker-compose.monitoring.yml"],
    "sentinel": ["docker-compose.yml", "docker-compose.sentinel.yml"],
    "tls": ["docker-compose.yml", "docker-compose.tls.yml"],
}
_MONITORING = {"prometheus", "grafana"}
_PUBLIC = {"MASKQ_PUBLIC_URL": "https://example.com/maskq"}
_SERVICES_OF = {
    "every process": {"api", "webhooks", "worker"},
    "front end": {"api"},
    "front end and workers": {"api", "worker"},
    "front end and webhooks": {"api", "webhooks"},
    "workers": {"worker"},
    "webhooks": {"webhooks"},
}
"""The services that read a group of settings, by its `read_by`."""
_FIXED = {
    "MASKQ_CACHE_DIR": "a volume is mounted at the folder that the image names",
    "MASKQ_METRICS_PORT": "Prometheus looks for workers at this port, which only other containers can reach",
    "MASKQ_METRICS_HOST": "only other containers can reach a worker",
}
"""Settings that the operator cannot change in containers, with the reason."""


@pytest.fixture(params=_FILES)
def compose(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The configuration that Docker Compose reads from the files."""
    return compose_config(*_FILES[request.param], **_PUBLIC)


@pytest.mark.docker
def test_compose_accepts_the_files_and_has_all_services(compose: dict[str, Any]) -> None:
    found = _kinds(compose["services"]) - _MONITORING - {"sentinel"}
    assert found == {"secrets", "redis", "api", "proxy", "webhooks", "worker"}


def _kinds(services: Iterable[str]) -> set[str]:
    """Names of services, without a number: `sentinel-1` is `sentinel`."""
    return {name.partition("-")[0] for name in services}


@pytest.mark.docker
def test_no_container_has_more_rights_than_it_needs(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.docker
def test_only_the_proxy_is_published_and_only_with_tls_to_other_machines(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert set(published) - _MONITORING == {"proxy"}
    open_to_all = {port["target"] for ports in published.values() for port in ports if "host_ip" not in port}
    assert open_to_all <= {8443, 8081}
    assert {port.get("host_ip", "127.0.0.1") for ports in published.values() for port in ports} == {"127.0.0.1"}
    assert not open_to_all or compose["services"]["api"]["environment"]["MASKQ_REQUIRE_KEYS"] == "true"


@pytest.mark.docker
def test_only_services_that_need_redis_can_reach_it(compose: dict[str, Any]) -> None:
    internal = {name for name, network in compose["networks"].items() if network.get("internal")}
    assert {"store"} <= internal <= {"store", "replicas"}
    networks = {name: set(service.get("networks", ())) for name, service in compose["services"].items()}
    inside = {name for name, joined in networks.items() if joined & internal}
    assert _kinds(inside) - {"sentinel"} == {"redis", "api", "webhooks", "worker"}
    for name in (name for name in inside if _kinds([name]) <= {"redis", "sentinel"}):
        assert networks[name] <= internal


@pytest.mark.docker
def test_every_worker_sees_all_gpus_and_the_folder_with_their_locks() -> None:
    worker = compose_config(*_FILES["gpu"], WORKERS="4", CUDA_VISIBLE_DEVICES="0,2")["services"]["worker"]
    assert worker["deploy"]["replicas"] == 4
    (reserved,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert (reserved["count"], reserved["capabilities"]) in ((-1, ["gpu"]), ("all", ["gpu"]))
    assert worker["environment"]["MASKQ_DEVICE"] == "cuda"
    assert worker["environment"]["CUDA_VISIBLE_DEVICES"] == "0,2"
    assert ("model-cache", "/cache") in [(each["source"], each["target"]) for each in worker["volumes"]]


@pytest.mark.docker
@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("group", _SERVICES_OF)
def test_every_setting_arrives_in_every_container_that_reads_it(name: str, group: str) -> None:
    listed = [variable_of(field, info) for owner, field, info in all_settings() if owner.read_by == group]
    wanted = {variable: _sample(variable) for variable in listed}
    services = compose_config(*_FILES[name], **{**_PUBLIC, **wanted})["services"]
    for service in _SERVICES_OF[group]:
        environment = services[service]["environment"]
        missing = {variable for variable, value in wanted.items() if environment.get(variable) != value}
        allowed = {"MASKQ_DEVICE"} if name == "gpu" else set()  # that file fixes it
        assert missing - set(_FIXED) - allowed == set(), f"{service}: add a line for each to docker-compose.yml"


def _sample(variable: str) -> str:
    """A value that no file has. Compose does not check values."""
    return f"of-{variable.lower()}"


def test_every_group_of_settings_has_its_services() -> None:
    assert {group.read_by for group, _, _ in all_settings()} == set(_SERVICES_OF)


def test_every_fixed_setting_is_a_setting() -> None:
    assert set(_FIXED) <= {variable_of(name, field) for _, name, field in all_settings()}


@pytest.mark.docker
def test_a_setting_that_is_not_set_is_absent(compose: dict[str, Any]) -> None:
    environment = compose["services"]["worker"]["environment"]
    assert environment["MASKQ_MAX_BATCH"] is None
    assert environment["REDIS_URL"] is None


@pytest.mark.docker
def test_no_file_lists_the_settings_of_a_worker_twice(root: Path) -> None:
    for path in root.glob("docker-compose.*.yml"):
        assert "MASKQ_MODEL_ID" not in path.read_text("utf-8")


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[2].glob("docker-compose*.yml")), ids=lambda path: path.name
)
def test_no_key_is_twice_in_a_mapping(path: Path) -> None:
    _check_keys(yaml.compose(path.read_text("utf-8")))


def _check_keys(node: yaml.Node | None) -> None:
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), keys
        for _, value in node.value:
            _check_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_keys(value)


@pytest.mark.docker
def test_every_documented_combination_of_files_is_accepted(root: Path) -> None:
    found = documented_files(root)
    assert {tuple(files) for files in _FILES.values()} <= found
    for files in found:
        assert compose_config(*files, **_PUBLIC)["services"]


@pytest.mark.docker
def test_every_documented_command_is_run_by_a_trial_or_accepted_by_compose(root: Path) -> None:
    run = {text for path in (root / "tests/e2e/compose").glob("*.py") for text in _texts(path)}
    commands = documented_commands(root)
    assert len(commands) > 10
    for command in commands:
        if cannot_run(command):
            words = shlex.split(command)
            subcommand = next(number for number, word in enumerate(words) if word in {"up", "config", "build"})
            assert run_config(words[:subcommand], _PUBLIC)["services"]
        else:
            assert command in run, "no trial runs it"


def _texts(module: Path) -> Iterator[str]:
    """All strings in a module."""
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_variable_of_the_compose_files_is_explained(root: Path) -> None:
    used = {
        name
        for path in root.glob("docker-compose*.yml")
        for name in re.findall(r"\$\{([A-Z_]+)", path.read_text("utf-8"))
    }
    settings = {variable_of(name, field) for _, name, field in all_settings()}
    text = (root / "docs/operations.md").read_text("utf-8")
    assert {name for name in used - settings - set(_PUBLIC) if f"`{name}`" not in text} == set()


@pytest.mark.docker
def test_the_number_of_workers_is_a_setting_so_that_an_upgrade_keeps_it() -> None:
    services = compose_config("docker-compose.yml", WORKERS="3")["services"]
    assert services["worker"]["deploy"]["replicas"] == 3
    assert compose_config("docker-compose.yml")["services"]["worker"]["deploy"]["replicas"] == 1


@pytest.mark.docker
def test_a_folder_with_models_is_mounted_in_every_container_that_reads_models() -> None:
    services = compose_config("docker-compose.yml", MODEL_FOLDERS="./models")["services"]
    for name in ("api", "worker"):
        (mount,) = [each for each in services[name]["volumes"] if each["target"] == "/my-models"]
        assert (mount["type"], mount["read_only"]) == ("bind", True)
        assert mount["source"].endswith("/models")


@pytest.mark.docker
def test_no_password_is_in_an_environment(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        environment = {key: value for key, value in service.get("environment", {}).items() if value is not None}
        assert not [key for key in environment if "PASSWORD" in key or "REDIS_URL" in key], name


@pytest.mark.docker
def test_each_kind_of_process_has_its_own_password_of_redis_and_no_other(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        mounted = {
            each["target"]: each for each in service.get("volumes", []) if each["target"].startswith("/run/secrets")
        }
        kind = name.partition("-")[0]
        if kind in ("api", "worker", "webhooks", "redis", "sentinel"):
            (mount,) = mounted.values()
            assert (mount["target"], mount["read_only"]) == ("/run/secrets", True)
            assert mount["source"] == ("redis-users" if kind == "redis" else f"{kind}-secrets")
        else:
            assert kind == "secrets" or not mounted


@pytest.mark.docker
def test_grafana_has_no_administrator_and_takes_no_password() -> None:
    environment = compose_config(*_FILES["monitoring"])["services"]["grafana"]["environment"]
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


@pytest.mark.docker
def test_a_worker_has_enough_time_to_drain(compose: dict[str, Any]) -> None:
    grace = compose["services"]["worker"]["stop_grace_period"]
    assert float(grace.removesuffix("s")) > Settings.of().liveness.drain_s


@pytest.mark.docker
def test_the_memory_limit_of_a_front_end_covers_its_settings(compose: dict[str, Any]) -> None:
    front = compose["services"]["api"]
    given = {name: value for name, value in front["environment"].items() if value is not None}
    assert front_end_bytes(given) < int(front["deploy"]["resources"]["limits"]["memory"])


@pytest.mark.docker
def test_redis_writes_to_disk_before_it_acknowledges(compose: dict[str, Any]) -> None:
    servers = [service for name, service in compose["services"].items() if _kinds([name]) == {"redis"}]
    for words in ("--appendonly yes", "--appendfsync always", "--maxmemory-policy noeviction"):
        assert all(words in " ".join(server["command"]) for server in servers)


@pytest.mark.docker
def test_replicas_and_sentinels_differ_in_their_addresses_only() -> None:
    settings = {"REDIS_OPTIONS": "--maxclients 5", "REPLICAS_NETWORK": "10.0.0"}
    services = compose_config(*_FILES["sentinel"], **settings)["services"]
    for first, *others in (["redis", "redis-2", "redis-3"], ["sentinel-1", "sentinel-2", "sentinel-3"]):
        address = services[first]["networks"]["replicas"]["ipv4_address"]
        for other in others:
            own = services[other]["networks"]["replicas"]["ipv4_address"]
            assert own.startswith("10.0.0.")
            for key in ("command", "user", "deploy", "healthcheck", "image", "restart"):
                assert str(services[other][key]).replace(own, address) == str(services[first][key])
            data = [{each["source"] for each in services[name]["volumes"]} for name in (first, other)]
            assert len(data[0] ^ data[1]) == 2  # each has a volume of its own for its data
    needed = services["worker"]["depends_on"]
    assert all(needed[name]["condition"] == "service_healthy" for name in ("redis", "sentinel-1", "sentinel-3"))


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


@pytest.mark.docker
@pytest.mark.parametrize(("name", "torch"), [("cpu", "cpu"), ("gpu", "cuda")])
def test_only_the_image_for_gpus_has_cuda(name: str, torch: str) -> None:
    worker = compose_config(*_FILES[name])["services"]["worker"]
    assert worker["build"]["args"]["TORCH"] == torch


def test_a_change_of_code_does_not_install_torch_again(root: Path) -> None:
    steps = (root / "Dockerfile.worker").read_text()
    assert steps.index("torch==") < steps.index("COPY requirements requirements") < steps.index("COPY worker worker")
