"""Settings that only deliverers of webhooks read."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from shared.settings.group import ManySeconds, PositiveSeconds, SettingsGroup


class WebhookSettings(SettingsGroup):
    """Webhooks"""

    read_by = "webhooks"

    webhook_timeout_s: PositiveSeconds = Field(
        15.0,
        description="Seconds for one attempt, from resolving the name to the status. Its lease is twice that, and "
        "MASKQ_REDIS_TIMEOUT_S more if replicas confirm it. Raise it if receivers answer only after long work.",
    )
    webhook_retries_s: ManySeconds = Field(
        (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400),
        description="Seconds from each failed attempt to the next, comma-separated. The default is what Standard "
        "Webhooks advises. There is no attempt after the job has expired, so a longer list needs a longer "
        "MASKQ_RETENTION_S.",
    )
    webhook_concurrency: int = Field(
        256,
        ge=1,
        description="Deliveries in progress per process. They mostly wait, so many are cheap. Raise it if webhooks are "
        "late although receivers are fast. One client gets at most three times what is free of them.",
    )
    webhook_host_concurrency: int = Field(
        8,
        ge=1,
        description="Of those, deliveries to one host: a slow host must not delay the others. Raise it if one receiver "
        "gets most webhooks.",
    )
    webhook_rotation_s: int = Field(
        86_400,
        ge=0,
        description="Seconds for which a replaced secret signs too. A day, so that receivers have time to take the new "
        "one; raise it if they need longer.",
    )

    @model_validator(mode="after")
    def _hosts_fit(self) -> Self:
        if self.webhook_host_concurrency > self.webhook_concurrency:
            raise ValueError(
                f"MASKQ_WEBHOOK_HOST_CONCURRENCY={self.webhook_host_concurrency} is above MASKQ_WEBHOOK_CONCURRENCY="
                f"{self.webhook_concurrency}: it is a part of it"
            )
        return self
