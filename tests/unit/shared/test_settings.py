from pathlib import Path

import pytest
from pydantic import ValidationError

import shared.settings
from shared.errors import ConfigurationError
from shared.process.environment import load_settings
from shared.settings import Settings, all_settings, variable_of


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for _, name, field in all_settings() if len(field.description or "") < 15] == []


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKQ_MAX_BATCH", "3")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    settings = load_settings()
    assert settings.engine.max_batch == 3
    assert "hf_secret" not in repr(settings)


def test_a_wrong_value_is_explained_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKQ_MAX_BATCH", "many")
    monkeypatch.setenv("MASKQ_DEVICE", "tpu")
    with pytest.raises(ConfigurationError, match=r"MASKQ_DEVICE: .*`cuda:N`.*MASKQ_MAX_BATCH: "):
        load_settings()


@pytest.mark.parametrize("value", ["5, soon", "-1", "inf", "nan"])
def test_delays_are_numbers_of_seconds(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("MASKQ_WEBHOOK_RETRIES_S", value)
    with pytest.raises(ConfigurationError, match="MASKQ_WEBHOOK_RETRIES_S"):
        load_settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings.of().engine.max_batch = 2  # type: ignore[misc]


def test_a_secret_may_be_a_file_and_the_environment_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.settings, "SECRETS", tmp_path)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / "redis_url").write_text("redis://maskq:secret@redis:6379/0\n")
    (tmp_path / "hf_token").write_text("hf_file")
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    settings = load_settings()
    assert settings.redis.redis_url == "redis://maskq:secret@redis:6379/0"
    assert settings.checkpoint.hf_token is not None
    assert settings.checkpoint.hf_token.get_secret_value() == "hf_environment"


def test_no_folder_of_secrets_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.settings, "SECRETS", tmp_path / "nowhere")
    assert load_settings().model.model_id


def test_every_setting_has_the_prefix_but_two_that_people_know() -> None:
    variables = {variable_of(name, field) for _, name, field in all_settings()}
    assert {name for name in variables if not name.startswith("MASKQ_")} == {"REDIS_URL", "HF_TOKEN"}


def test_no_two_groups_have_a_setting_of_the_same_name() -> None:
    names = [name for _, name, _ in all_settings()]
    assert len(names) == len(set(names))


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


def test_an_unknown_setting_like_no_other_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_what_others_set_is_no_mistake(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    assert load_settings().engine.max_batch == 16


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"MASKQ_HEARTBEAT_S": "20", "MASKQ_LEASE_S": "10", "MASKQ_GIVE_UP_S": "60"}, "MASKQ_HEARTBEAT_S=20"),
        ({"MASKQ_LEASE_S": "20"}, "MASKQ_GIVE_UP_S=20"),  # others get a job at the moment its worker drops it
        ({"MASKQ_HEARTBEAT_S": "11"}, "MASKQ_HEARTBEAT_S=11"),  # one lost heartbeat, and a healthy worker gives up
        ({"MASKQ_MAX_IMAGE_BYTES": "900000000"}, "MASKQ_UPLOAD_MEMORY_BYTES"),
        ({"MASKQ_WEBHOOK_CONCURRENCY": "4"}, "MASKQ_WEBHOOK_HOST_CONCURRENCY=8"),
    ],
)
def test_values_that_contradict_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], named: str
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError, match=named):
        load_settings()


def test_all_mistakes_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MASKQ_MAX_BACH", "MASKQ_LOG_FORMAT", "MASKQ_WEBHOOK_CONCURRENCY"):
        monkeypatch.setenv(variable, "1")
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert all(name in refused.value.detail for name in ("MASKQ_MAX_BATCH", "MASKQ_LOG_FORMAT", "MASKQ_WEBHOOK_HOST"))


def test_settings_with_one_value_changed_keep_the_others() -> None:
    changed = Settings.of(max_batch=3, hf_token="hf_secret").replace(prefill_tokens=7)
    assert (changed.engine.max_batch, changed.engine.prefill_tokens) == (3, 7)
    assert changed.checkpoint.hf_token is not None
    with pytest.raises(TypeError, match="max_bach"):
        changed.replace(max_bach=3)
