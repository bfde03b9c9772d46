import pytest
from pydantic import ValidationError

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
