"""Settings that every process reads: Redis, leases, retention, logs."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from shared.settings.group import CaFile, HttpUrl, PositiveSeconds, Seconds, SettingsGroup
from shared.settings.redis_url import RedisUrl


class RedisSettings(SettingsGroup):
    """Redis: broker and store"""

    read_by = "every process"

    redis_url: RedisUrl = Field(
        "redis://127.0.0.1:6379/0",
        validation_alias="REDIS_URL",
        repr=False,  # may hold a password
        description="URL of Redis >= 7 or Valkey: the broker of Celery and the store of all jobs. The default is a "
        "server on this machine. `rediss://` is TLS; certificate and host name are always verified. With replicas and "
        "Sentinel: `sentinel://USER:PASSWORD@HOST:26379,HOST:26379/SERVICE/0`, or `sentinels://` for TLS; "
        "[Redis with replicas](operations.md#redis-with-replicas) has all of it.",
    )
    redis_timeout_s: PositiveSeconds = Field(
        5.0,
        description="Seconds to wait for one answer of Redis. Short, so that a frozen server is noticed. Raise it if "
        "the network or the disk of Redis is slow.",
    )
    ca_file: CaFile | None = Field(
        None,
        description="File with certificates of further CAs, as PEM. They are trusted beside those of the system: for "
        "Redis with `rediss://` or `sentinels://`, for webhooks and for `image_url`. Set it if such a server has a "
        "certificate of a private CA.",
    )
    allow_data_loss: bool = Field(
        False,
        description="Run on a server that may lose accepted jobs: one without AOF, or one that evicts keys. Off, "
        "because clients rely on accepted jobs. For trials and development.",
    )
    confirm_replicas: int = Field(
        0,
        ge=0,
        description="Replicas of Redis that must have a submission, a cancel, a deletion or a result before it is "
        "confirmed: on their disks, or in their memory if the server has no WAITAOF (before Redis 7.2). Until then the "
        "answer is 503 (`store_unconfirmed`). 0: a failover may forget what was accepted last. See docs/durability.md.",
    )


class LivenessSettings(SettingsGroup):
    """Leases and heartbeats"""

    read_by = "every process"

    heartbeat_s: PositiveSeconds = Field(
        5.0,
        description="Seconds between heartbeats, which renew the leases of a worker. A worker that missed three counts "
        "as gone. Change it together with the next two settings, and at least two must fit into MASKQ_GIVE_UP_S.",
    )
    give_up_s: PositiveSeconds = Field(
        20.0,
        description="Seconds without Redis after which a worker drops its jobs, before their leases end. At least two "
        "heartbeats, so that one may be lost.",
    )
    lease_s: PositiveSeconds = Field(
        30.0,
        description="Seconds that a job stays with a worker that sends no heartbeat. Above MASKQ_GIVE_UP_S: a worker "
        "must drop a job before another one gets it. Lower it to recover sooner from a lost "
        "machine; raise it if the network fails for longer. A killed process is noticed before.",
    )
    restart_grace_s: Seconds = Field(
        30.0,
        description="Seconds after a start of Redis or a failover in which no lease is reaped. Workers need this time "
        "to reconnect; without it their jobs would run twice. Raise it if workers take longer to reconnect.",
    )
    drain_s: Seconds = Field(
        25.0,
        description="Seconds for which a worker that is told to stop finishes its jobs before it releases them, and a "
        "deliverer its deliveries. Keep it below the time after which the orchestrator kills the process; raise both "
        "if jobs take longer.",
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
        86_400,
        ge=1,
        description="Seconds that a finished job and its result are kept. A day, so that its client can retry. Lower "
        "it if results fill the memory of Redis.",
    )
    image_retention_s: int = Field(
        3_600,
        ge=1,
        description="Seconds that the image of a finished job is kept for overlays, at most as long as the job. Short, "
        "because images fill the memory of Redis. Raise it if overlays are drawn later.",
    )
    tombstone_s: int = Field(
        604_800,
        ge=1,
        description="Seconds that an expired job is answered with 410 instead of 404: a week, for clients that come "
        "late. Each such job takes 0.15 kB of Redis; lower it at very high rates.",
    )
    result_cache_s: int = Field(
        0,
        ge=0,
        description="Seconds for which a result is used again for the same image, prompt and formats. 0 turns this "
        "off. Turn it on if clients send the same request repeatedly.",
    )
    result_cache_shared: bool = Field(
        False,
        description="Use a result again for other API keys too. Off, because a key could find out what another one has "
        "asked. Turn it on if all keys belong to one organisation.",
    )


class LoggingSettings(SettingsGroup):
    """Logs and traces"""

    read_by = "every process"

    log_format: Literal["text", "json"] = Field(
        "text", description="`text` for people; `json` is one object per line, for programs that collect logs."
    )
    otlp_endpoint: HttpUrl = Field(
        "",
        description="Collector for traces, as OTLP over HTTP: `http://collector:4318`. Empty: no traces, which need "
        "the extra `tracing`.",
    )
