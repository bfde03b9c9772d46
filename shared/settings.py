"""Every setting, grouped by the processes that read it, with its unit and the reason for its default.

The environment variable of a field is `MASKQ_` and its name in upper case, but for `REDIS_URL` and `HF_TOKEN`, which
other programs use as well. `shared.process.environment` reads them, once, when a process starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "MASKQ_"
SECRETS = Path("/run/secrets")
"""Folder where Docker and Kubernetes mount secrets: `/run/secrets/hf_token` holds what `HF_TOKEN` would."""


class SettingsGroup(BaseSettings):
    """Settings that belong together. Values come from arguments, the environment, or files in `SECRETS`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, env_prefix=PREFIX, validate_by_name=True
    )
    read_by: ClassVar[str]
    """The processes that read the group, for docs/settings.md."""

    @classmethod
    def read(cls, **values: Any) -> Self:
        """The group with these values; all others come from the environment, or from files in `SECRETS`."""
        return cls(_secrets_dir=SECRETS if SECRETS.is_dir() else None, **values)


def _split_on_commas(value: object) -> object:
    """`5, 300` -> `["5", " 300"]`; what is no text stays as it is."""
    return [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Delay = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RedisSettings(SettingsGroup):
    """Redis: broker and store"""

    read_by = "every process"

    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        validation_alias="REDIS_URL",
        description="Redis >= 7 or Valkey: the broker of Celery and the store of all jobs.",
    )
    redis_timeout_s: float = Field(
        5.0, gt=0, description="Longest wait for one answer of Redis. Short, so that a frozen server is noticed."
    )
    allow_data_loss: bool = Field(
        False, description="Run on a server that may lose accepted jobs: one without AOF, or one that evicts keys."
    )


class LivenessSettings(SettingsGroup):
    """Leases and heartbeats"""

    read_by = "every process"

    heartbeat_s: float = Field(
        5.0, gt=0, description="How often a worker renews its leases. A worker that missed three counts as gone."
    )
    give_up_s: float = Field(
        20.0,
        gt=0,
        description="A worker that could not reach Redis for so long drops its jobs, before their leases end. At least "
        "two heartbeats, so that one may be lost.",
    )
    lease_s: float = Field(
        30.0,
        gt=0,
        description="How long a job stays with a worker that sends no heartbeat. Above MASKQ_GIVE_UP_S: a worker must "
        "drop a job before another one gets it.",
    )
    restart_grace_s: float = Field(
        30.0,
        ge=0,
        description="No lease is reaped while Redis is up for less. Workers need this time to reconnect after Redis "
        "restarts; without it their jobs would run twice.",
    )
    drain_s: float = Field(
        25.0,
        ge=0,
        description="How long a worker that is told to stop finishes jobs before it releases them. Keep it below the "
        "time after which the orchestrator kills the process.",
    )

    @model_validator(mode="after")
    def _times_fit(self) -> Self:
        if not 2 * self.heartbeat_s <= self.give_up_s < self.lease_s:
            raise ValueError(
                f"MASKQ_HEARTBEAT_S={self.heartbeat_s:g}, MASKQ_GIVE_UP_S={self.give_up_s:g} and MASKQ_LEASE_S="
                f"{self.lease_s:g} contradict each other: two heartbeats must fit into MASKQ_GIVE_UP_S, and "
                "MASKQ_GIVE_UP_S must be below MASKQ_LEASE_S"
            )
        return self


class RetentionSettings(SettingsGroup):
    """Retention"""

    read_by = "every process"

    retention_s: int = Field(
        86_400, ge=1, description="How long a finished job is kept. A day, so that its client can retry."
    )
    image_retention_s: int = Field(
        3_600,
        ge=1,
        description="How long the image of a finished job is kept for overlays, at most as long as the job. Short, "
        "because images fill the memory of Redis.",
    )
    tombstone_s: int = Field(
        604_800, ge=1, description="How long an expired job is answered with 410 instead of 404: a week."
    )
    result_cache_s: int = Field(
        0, ge=0, description="How long a result answers the same image, prompt and formats again; 0 turns this off."
    )


class ModelSettings(SettingsGroup):
    """Models"""

    read_by = "front end and workers"

    model_id: str = Field(
        "demo",
        min_length=1,
        description="`demo`, an official id from models/registry.toml, or a local folder. A worker serves it; the "
        "front end takes it for jobs that name no model.",
    )
    models: str = Field(
        "", description="All models of a deployment with several, comma-separated. Only the front end needs it."
    )
    models_dir: Path = Field(
        Path("models"),
        description="Folder with the registry and the demo checkpoint. Relative paths start at the working directory.",
    )


class LoggingSettings(SettingsGroup):
    """Logs and traces"""

    read_by = "every process"

    log_format: Literal["text", "json"] = Field(
        "text", description="`text` for people; `json` is one object per line, for machines."
    )
    otlp_endpoint: str = Field(
        "", description="Collector for traces, as OTLP over HTTP: `http://collector:4318`. Empty: no traces."
    )


class ImageSettings(SettingsGroup):
    """Images"""

    read_by = "front end and workers"

    image_store: str = Field(
        "",
        description="Where images are kept. Empty: in Redis. `file:///folder` or `s3://bucket/prefix` once images "
        "outgrow the memory of Redis.",
    )
    max_image_pixels: int = Field(
        25_000_000, ge=1, description="Most pixels of an image, checked in its header: 25 MP decode to 75 MB."
    )
    decode_processes: int = Field(
        4, ge=1, le=64, description="Child processes of a front end or worker that decode images, one each at a time."
    )
    decode_memory_bytes: int = Field(
        1_000_000_000,
        ge=300_000_000,
        description="Memory limit of such a child process. The worst images of 25 MP need 515 MB; raise it together "
        "with MASKQ_MAX_IMAGE_PIXELS.",
    )
    decode_cpu_s: int = Field(
        10, ge=1, description="CPU time that one image may take to decode. Honest ones of 25 MP take up to 1.5 s."
    )


class OutboundSettings(SettingsGroup):
    """Requests to URLs from clients"""

    read_by = "front end and webhooks"

    url_allow_http: bool = Field(
        False, description="Allow plain http. Off, because what is sent could be read or changed on the way."
    )
    url_allow_private: bool = Field(
        False, description="Allow private addresses and any port. For closed networks and development."
    )
    url_timeout_s: float = Field(10.0, gt=0, description="Longest fetch of an image, redirects included.")


class SubmissionSettings(SettingsGroup):
    """Submissions"""

    read_by = "front end"

    max_image_bytes: int = Field(
        20_000_000, ge=1, description="Largest image file. Photos of phones and cameras are below 20 MB."
    )
    upload_memory_bytes: int = Field(
        1_000_000_000,
        ge=1,
        description="Memory of one process for all uploads in progress; further ones are answered with 503.",
    )
    max_queued_jobs: int = Field(
        1_000, ge=1, description="Jobs that may wait per model; further ones are answered with 429."
    )
    accept_unserved: bool = Field(
        False,
        description="Accept jobs for a model without a live worker: they wait for one, which scaling from zero needs. "
        "Off: such jobs are answered with 503.",
    )

    @property
    def max_body_bytes(self) -> int:
        """Largest request body: an image of the largest size as base64, and the fields beside it."""
        return self.max_image_bytes * 4 // 3 + 65_536

    @model_validator(mode="after")
    def _one_upload_fits(self) -> Self:
        if self.upload_memory_bytes < self.max_body_bytes:
            raise ValueError(
                f"MASKQ_UPLOAD_MEMORY_BYTES={self.upload_memory_bytes} has no room for one upload of MASKQ_MAX_IMAGE_"
                f"BYTES={self.max_image_bytes}: as base64 that is {self.max_body_bytes} bytes"
            )
        return self


class HttpSettings(SettingsGroup):
    """HTTP"""

    read_by = "front end"

    require_keys: bool | None = Field(
        None,
        description="Whether every request needs an API key (`scripts/keys`). Unset: yes, unless the front end listens "
        "on this machine only.",
    )
    metrics_allow: str = Field(
        "127.0.0.0/8,::1/128", description="Networks whose clients may read `/metrics`, comma-separated."
    )
    body_timeout_s: float = Field(
        120.0, gt=0, description="Longest upload: 20 MB in this time is 1.4 Mbit/s, a slow phone."
    )
    max_waiters: int = Field(10_000, ge=1, description="Long polls and event streams open at once in one process.")
    max_wait_s: float = Field(
        60.0,
        gt=0,
        description="Longest `?wait=` and `Prefer: wait`; proxies commonly close silent connections at 60 s.",
    )


class CheckpointSettings(SettingsGroup):
    """Weights and device"""

    read_by = "workers"

    hf_token: SecretStr | None = Field(
        None,
        validation_alias="HF_TOKEN",
        description="Hugging Face token of an account that accepted the licence. For official ids only.",
    )
    cache_dir: Path = Field(
        Path.home() / ".cache" / "maskq", description="Where official weights and vae-oid.npz are kept once fetched."
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda|cuda:\d+)$",
        description="`auto`, `cpu`, `cuda` or `cuda:N`. `auto` takes the first CUDA device, else the CPU.",
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="Type of the weights. `auto` is bfloat16 on CUDA and float32 on a CPU, where bfloat16 is slow.",
    )


class EngineSettings(SettingsGroup):
    """Engine"""

    read_by = "workers"

    max_batch: int = Field(
        16, ge=1, le=256, description="Most jobs that share a step of the model; each takes a slot of its cache."
    )
    prefill_tokens: int = Field(
        8_192,
        ge=1,
        description="Most tokens of images and prompts that start in one step. Running jobs wait for that step, so "
        "lower it if they must not.",
    )
    max_prompt_tokens: int = Field(
        512, ge=16, le=4096, description="Longest prompt the model takes. Every slot of the cache has room for it."
    )
    max_answer_tokens: int = Field(
        256, ge=24, le=4096, description="Longest answer. An object takes 20 tokens and its label: about 10 objects."
    )
    force_format: bool = Field(
        True, description="Choose only tokens that make whole objects. Off: whatever the model likes best."
    )
    feature_cache_bytes: int = Field(
        256_000_000,
        ge=0,
        description="Memory for features of recent images, so that another prompt on one of them starts sooner; 1.2 MB "
        "per image at 224 px.",
    )


class WorkerSettings(SettingsGroup):
    """Worker"""

    read_by = "workers"

    worker_threads: int = Field(
        24,
        ge=1,
        le=512,
        description="Jobs in flight per worker. Above MASKQ_MAX_BATCH, so that images are prepared and masks drawn "
        "while the model runs.",
    )
    stuck_s: float = Field(
        60.0,
        gt=0,
        description="An engine without progress for so long ends its process. Above the longest step: raise it for a "
        "large model on a CPU.",
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="Port on which a worker serves `/metrics`; 0 is none.")
    metrics_host: str = Field("127.0.0.1", description="Address on which a worker serves `/metrics`.")


class WebhookSettings(SettingsGroup):
    """Webhooks"""

    read_by = "webhooks"

    webhook_timeout_s: float = Field(
        15.0, gt=0, description="Longest delivery, from resolving the name to the status. Its lease is twice that."
    )
    webhook_retries_s: Annotated[tuple[Delay, ...], NoDecode, BeforeValidator(_split_on_commas)] = Field(
        (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
        description="Seconds from a failed attempt to the next, comma-separated. As Standard Webhooks advises; there "
        "is none after the job has expired.",
    )
    webhook_concurrency: int = Field(
        256, ge=1, description="Deliveries in progress per process. They mostly wait, so many are cheap."
    )
    webhook_host_concurrency: int = Field(
        8, ge=1, description="Of those, deliveries to one host: a slow host must not delay the others."
    )
    webhook_rotation_s: int = Field(
        86_400, ge=0, description="How long a replaced secret signs too: receivers have a day to take the new one."
    )

    @model_validator(mode="after")
    def _hosts_fit(self) -> Self:
        if self.webhook_host_concurrency > self.webhook_concurrency:
            raise ValueError(
                f"MASKQ_WEBHOOK_HOST_CONCURRENCY={self.webhook_host_concurrency} is above MASKQ_WEBHOOK_CONCURRENCY="
                f"{self.webhook_concurrency}: it is a part of it"
            )
        return self


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
        groups = {}
        for name, group in GROUPS.items():
            given = {field: values[field] for field in group.model_fields if field in values}
            groups[name] = group.read(**given)
        return cls.model_validate(groups)

    def replace(self, **values: Any) -> Self:
        """The same settings but for these values, by the names of their fields.

        Raises:
            pydantic.ValidationError, TypeError: as `of`.
        """
        present = {name: value for group in GROUPS for name, value in getattr(self, group)}
        return self.of(**{**present, **values})


GROUPS: dict[str, type[SettingsGroup]] = get_type_hints(Settings)
"""Every group by its name in `Settings`."""


def all_settings() -> list[tuple[type[SettingsGroup], str, FieldInfo]]:
    """Every setting: its group, the name of its field, and the field."""
    return [(group, name, field) for group in GROUPS.values() for name, field in group.model_fields.items()]


def variable_of(name: str, field: FieldInfo) -> str:
    """The environment variable of a setting."""
    return field.validation_alias if isinstance(field.validation_alias, str) else PREFIX + name.upper()
