"""The groups of settings: names, descriptions, defaults and values that contradict each other."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared import VERSION
from shared.settings import Settings, all_settings, variable_of


def test_every_description_states_the_effect_and_a_reason() -> None:
    descriptions = {name: field.description or "" for _, name, field in all_settings()}
    assert [name for name, text in descriptions.items() if text.count(". ") + text.count("; ") == 0] == []


def test_every_setting_in_seconds_says_so() -> None:
    descriptions = {name: field.description or "" for _, name, field in all_settings() if name.endswith("_s")}
    assert [name for name, text in descriptions.items() if "econds" not in text] == []


def test_every_variable_has_the_prefix_except_names_that_other_programs_use() -> None:
    variables = {variable_of(name, field) for _, name, field in all_settings()}
    assert {name for name in variables if not name.startswith("MASKQ_")} == {
        "REDIS_URL",
        "HF_TOKEN",
        "FORWARDED_ALLOW_IPS",
    }


def test_every_setting_is_in_one_group_only() -> None:
    names = [name for _, name, _ in all_settings()]
    assert len(names) == len(set(names))


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings.of().engine.max_batch = 2  # type: ignore[misc]


def test_settings_with_one_value_changed_keep_the_others() -> None:
    changed = Settings.of(max_batch=3, hf_token="hf_secret").replace(prefill_tokens=7)
    assert (changed.engine.max_batch, changed.engine.prefill_tokens) == (3, 7)
    assert changed.checkpoint.hf_token is not None
    with pytest.raises(TypeError, match="max_bach"):
        changed.replace(max_bach=3)


def test_secrets_are_not_in_the_representation_of_settings() -> None:
    settings = Settings.of(redis_url="redis://maskq:redis_secret@redis:6379/0", hf_token="hf_secret")
    assert "secret" not in repr(settings)


# --- Jobs in flight and batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("max_batch", "worker_threads"), [(1, 2), (3, 5), (16, 24), (256, 384)])
def test_jobs_in_flight_are_one_and_a_half_batches_if_unset(max_batch: int, worker_threads: int) -> None:
    assert Settings.of(max_batch=max_batch).worker.worker_threads == worker_threads
    assert Settings.of().replace(max_batch=max_batch).worker.worker_threads == worker_threads


def test_jobs_in_flight_that_are_set_stay_when_the_batch_changes() -> None:
    assert Settings.of(worker_threads=100).replace(max_batch=64).worker.worker_threads == 100


@pytest.mark.parametrize(
    "values", [{"worker_threads": 15}, {"max_batch": 200, "worker_threads": 199}, {"max_batch": 4, "worker_threads": 3}]
)
def test_fewer_jobs_in_flight_than_a_batch_holds_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"MASKQ_WORKER_THREADS=\d+ is below MASKQ_MAX_BATCH=\d+"):
        Settings.of(**values)
    assert Settings.of(**{**values, "worker_threads": values.get("max_batch", 16)})


def test_the_version_of_the_service_is_that_of_the_project(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == VERSION
