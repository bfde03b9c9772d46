"""All settings, grouped by the processes that read them, each with its unit and the reason for its default.

The environment variable of a field is `MASKQ_` and its name in upper case; the exceptions are `REDIS_URL` and
`HF_TOKEN`, which other programs use as well. `shared.process.environment` reads them once, when a process starts.
"""

from __future__ import annotations

from typing import Any, Self, get_type_hints

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo

from shared.settings.every_process import LivenessSettings, LoggingSettings, RedisSettings, RetentionSettings
from shared.settings.front_end import COPIES, HttpSettings, SubmissionSettings
from shared.settings.group import PREFIX, SettingsGroup, variable_of
from shared.settings.several_processes import ImageSettings, ModelSettings, OutboundSettings
from shared.settings.webhooks import WebhookSettings
from shared.settings.worker import CheckpointSettings, EngineSettings, WorkerSettings

__all__ = [
    "COPIES",
    "GROUPS",
    "PREFIX",
    "CheckpointSettings",
    "EngineSettings",
    "HttpSettings",
    "ImageSettings",
    "LivenessSettings",
    "LoggingSettings",
    "ModelSettings",
    "OutboundSettings",
    "RedisSettings",
    "RetentionSettings",
    "Settings",
    "SettingsGroup",
    "SubmissionSettings",
    "WebhookSettings",
    "WorkerSettings",
    "all_settings",
    "variable_of",
]


class Settings(BaseModel):
    """All groups in one frozen object. A part of the service takes the groups it needs."""

    model_config = ConfigDict(frozen=True)

    redis: RedisSettings
    liveness: LivenessSettings
    retention: RetentionSettings
    logging: LoggingSettings
    model: ModelSettings
    images: ImageSettings
    outbound: OutboundSettings
    submissions: SubmissionSettings
    http: HttpSettings
    checkpoint: CheckpointSettings
    engine: EngineSettings
    worker: WorkerSettings
    webhooks: WebhookSettings

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Settings with these values, by the names of their fields; all others come from the environment.

        Raises:
            pydantic.ValidationError: a value is not allowed, or some contradict each other.
            TypeError: there is no setting of this name.
        """
        if unknown := values.keys() - {name for _, name, _ in all_settings()}:
            raise TypeError(f"no settings {sorted(unknown)}")
        groups: dict[str, Any] = {}
        for name, group in GROUPS.items():
            given = {field: values[field] for field in group.model_fields if field in values}
            groups[name] = group.read(**given)
        groups["worker"] = groups["worker"].with_default_threads(groups["engine"].max_batch)
        return cls.model_validate(groups)

    def replace(self, **values: Any) -> Self:
        """The same settings with these values changed, by the names of their fields. A default that depends on a
        changed value (MASKQ_WORKER_THREADS) is computed anew.

        Raises:
            pydantic.ValidationError, TypeError: as `of`.
        """
        groups: list[SettingsGroup] = [getattr(self, name) for name in GROUPS]
        present = {name: getattr(group, name) for group in groups for name in group.model_fields_set}
        return self.of(**{**present, **values})

    @model_validator(mode="after")
    def _batches_can_fill(self) -> Self:
        threads, max_batch = self.worker.worker_threads, self.engine.max_batch
        if threads < max_batch:
            raise ValueError(
                f"MASKQ_WORKER_THREADS={threads} is below MASKQ_MAX_BATCH={max_batch}: a batch could never fill"
            )
        return self


GROUPS: dict[str, type[SettingsGroup]] = get_type_hints(Settings)
"""Every group by its name in `Settings`."""


def all_settings() -> list[tuple[type[SettingsGroup], str, FieldInfo]]:
    """Every setting: its group, the name of its field, and the field."""
    return [(group, name, field) for group in GROUPS.values() for name, field in group.model_fields.items()]
