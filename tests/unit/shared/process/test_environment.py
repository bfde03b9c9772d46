"""Settings from the environment: where values come from, and how wrong ones are explained."""

from __future__ import annotations

from pathlib import Path

import pytest

import shared.settings.group
from shared.errors import ConfigurationError
from shared.process.environment import load_settings


def _refusal() -> str:
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    return refused.value.detail


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKQ_MAX_BATCH", "3")
    assert load_settings().engine.max_batch == 3


def test_a_secret_may_be_a_file_but_the_environment_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.settings.group, "SECRETS", tmp_path)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / "redis_url").write_text("redis://maskq:secret@redis:6379/0\n")
    (tmp_path / "hf_token").write_text("hf_file")
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    settings = load_settings()
    assert settings.redis.redis_url == "redis://maskq:secret@redis:6379/0"
    assert settings.checkpoint.hf_token is not None
    assert settings.checkpoint.hf_token.get_secret_value() == "hf_environment"


def test_the_folder_of_secrets_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.settings.group, "SECRETS", tmp_path / "nowhere")
    assert load_settings().model.model_id


# --- Wrong values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("MASKQ_MAX_BATCH", "lots", "must be a whole number from 1 to 256"),
        ("MASKQ_MAX_BATCH", "1.5", "must be a whole number from 1 to 256"),
        ("MASKQ_MAX_BATCH", "257", "must be a whole number from 1 to 256"),
        ("MASKQ_MAX_BATCH", "0", "must be a whole number from 1 to 256"),
        ("MASKQ_RETENTION_S", "a day", "must be a whole number of at least 1"),
        ("MASKQ_DECODE_MEMORY_BYTES", "1", "must be a whole number of at least 300000000"),
        ("MASKQ_REDIS_TIMEOUT_S", "0", "must be a number above 0"),
        ("MASKQ_LEASE_S", "inf", "must be a number above 0"),
        ("MASKQ_DRAIN_S", "soon", "must be a number of at least 0"),
        ("MASKQ_ALLOW_DATA_LOSS", "perhaps", "must be true or false"),
        ("MASKQ_REQUIRE_KEYS", "perhaps", "must be true or false"),
        ("MASKQ_LOG_FORMAT", "xml", "must be text or json"),
        ("MASKQ_DTYPE", "int8", "must be auto, float32, bfloat16 or float16"),
        ("MASKQ_DEVICE", "tpu", "must be auto, cpu, cuda, cuda:N, xpu, xpu:N or mps (N is the number of a GPU)"),
        ("MASKQ_WEBHOOK_RETRIES_S", "5, soon", "must be numbers of at least 0, comma-separated"),
        ("MASKQ_WEBHOOK_RETRIES_S", "-1", "must be numbers of at least 0, comma-separated"),
        ("MASKQ_WEBHOOK_RETRIES_S", "inf", "must be numbers of at least 0, comma-separated"),
        ("MASKQ_WEBHOOK_RETRIES_S", "nan", "must be numbers of at least 0, comma-separated"),
    ],
)
def test_a_wrong_value_is_shown_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(variable, value)
    detail = _refusal()
    assert f"{variable}={value}: {allowed}" in detail
    assert detail.count("must be") == 1  # and nothing else is reported


def test_the_value_of_a_secret_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.settings.group, "SECRETS", tmp_path)
    monkeypatch.setenv("REDIS_URL", "http://maskq:secret@redis:6379/0")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    detail = _refusal()
    assert "REDIS_URL: must begin with redis:// or rediss://" in detail
    assert "secret" not in detail


def test_a_refusal_is_one_line_even_if_the_value_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKQ_MAX_BATCH", "many\n" * 1_000)
    detail = _refusal()
    assert "\n" not in detail
    assert len(detail) < 250


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKQ_MAX_BATCH", "")
    assert load_settings().engine.max_batch == 16


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"MASKQ_HEARTBEAT_S": "20", "MASKQ_LEASE_S": "10", "MASKQ_GIVE_UP_S": "60"}, "MASKQ_HEARTBEAT_S=20"),
        ({"MASKQ_LEASE_S": "20"}, "MASKQ_GIVE_UP_S=20"),  # another worker gets a job at the moment the first drops it
        ({"MASKQ_HEARTBEAT_S": "11"}, "MASKQ_HEARTBEAT_S=11"),  # after one lost heartbeat a healthy worker gives up
        ({"MASKQ_MAX_IMAGE_BYTES": "900000000"}, "MASKQ_UPLOAD_MEMORY_BYTES"),
        ({"MASKQ_WEBHOOK_CONCURRENCY": "4"}, "MASKQ_WEBHOOK_HOST_CONCURRENCY=8"),
        (
            {"MASKQ_MAX_BATCH": "32", "MASKQ_WORKER_THREADS": "24"},
            "MASKQ_WORKER_THREADS=24 is below MASKQ_MAX_BATCH=32",
        ),
        ({"MASKQ_WORKER_THREADS": "4"}, "MASKQ_WORKER_THREADS=4 is below MASKQ_MAX_BATCH=16"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert named in _refusal()


def test_all_mistakes_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MASKQ_MAX_BACH", "MASKQ_LOG_FORMAT", "MASKQ_WEBHOOK_CONCURRENCY"):
        monkeypatch.setenv(variable, "1")
    detail = _refusal()
    assert all(name in detail for name in ("MASKQ_MAX_BATCH", "MASKQ_LOG_FORMAT", "MASKQ_WEBHOOK_HOST"))


# --- Unknown names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("MASKQ_MAX_BACH", "MASKQ_MAX_BATCH"),
        ("MASKQ_RETENTION", "MASKQ_RETENTION_S"),
        ("MASKQ_HF_TOKEN", "HF_TOKEN"),
        ("MASKQ_REDIS_URL", "REDIS_URL"),
        ("maskq_lease", "MASKQ_LEASE_S"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, nearest: str
) -> None:
    monkeypatch.setenv(variable, "3")
    with pytest.raises(ConfigurationError, match=rf"{variable}: .*did you mean {nearest}\?"):
        load_settings()


def test_an_unknown_setting_without_a_near_name_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKQ_QQQQQQQQ", "3")
    with pytest.raises(ConfigurationError, match=r"MASKQ_QQQQQQQQ: .*docs/settings\.md"):
        load_settings()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MASKQ_URL", "http://127.0.0.1:8000"),  # of clients
        ("MASKQ_API_KEY", "maskq_key"),
        ("MASKQ_API_SERVICE_HOST", "10.0.0.1"),  # Kubernetes, for a service called maskq-api
        ("MASKQ_API_SERVICE_PORT_HTTP", "80"),
        ("MASKQ_API_PORT", "tcp://10.0.0.1:80"),
        ("MASKQ_API_PORT_80_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_variables_that_clients_and_kubernetes_set_are_accepted(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    assert load_settings().engine.max_batch == 16
