from pathlib import Path

import pytest
from pydantic import ValidationError

import shared.settings
from shared.errors import ConfigurationError
from shared.settings import Settings, load_settings


def test_every_setting_says_what_it_is_for() -> None:
    assert [name for name, field in Settings.model_fields.items() if len(field.description or "") < 15] == []


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_BATCH", "3")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    settings = load_settings()
    assert settings.max_batch == 3
    assert "hf_secret" not in repr(settings)


def test_a_wrong_value_is_explained_by_the_name_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_BATCH", "many")
    monkeypatch.setenv("DEVICE", "tpu")
    with pytest.raises(ConfigurationError, match=r"DEVICE: .*MAX_BATCH: "):
        load_settings()


@pytest.mark.parametrize("value", ["5, soon", "-1", "inf", "nan"])
def test_delays_are_numbers_of_seconds(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("WEBHOOK_RETRIES_S", value)
    with pytest.raises(ConfigurationError, match="WEBHOOK_RETRIES_S"):
        load_settings()


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().max_batch = 2  # type: ignore[misc]


def test_a_secret_may_be_a_file_and_the_environment_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.settings, "_SECRETS", tmp_path)
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / "redis_url").write_text("redis://maskq:secret@redis:6379/0\n")
    (tmp_path / "hf_token").write_text("hf_file")
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    settings = load_settings()
    assert settings.redis_url == "redis://maskq:secret@redis:6379/0"
    assert settings.hf_token is not None
    assert settings.hf_token.get_secret_value() == "hf_environment"


def test_no_folder_of_secrets_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared.settings, "_SECRETS", tmp_path / "nowhere")
    assert load_settings().model_id
