"""Settings that only the front end reads: submissions and HTTP."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from shared.settings.group import NetworkList, PositiveSeconds, SettingsGroup


class SubmissionSettings(SettingsGroup):
    """Submissions"""

    read_by = "front end"

    max_image_bytes: int = Field(
        20_000_000,
        ge=1,
        description="Bytes of the largest image file. Photos of phones and cameras are below 20 MB. Raise it together "
        "with the limit of the proxy.",
    )
    upload_memory_bytes: int = Field(
        1_000_000_000,
        ge=1,
        description="Bytes of memory of one process for all uploads in progress; further ones get 503. 1 GB holds "
        "about 37 of the largest uploads. Set it to what the container's memory allows.",
    )
    max_queued_jobs: int = Field(
        1_000,
        ge=1,
        description="Jobs that may wait per model; further ones get 429. It bounds the wait and the memory for images. "
        "Raise it if clients submit large batches and the store has room.",
    )
    accept_unserved: bool = Field(
        False,
        description="Accept jobs for a model without a live worker; they wait for one. Off: such jobs get 503, so that "
        "clients do not wait for nothing. Turn it on if workers start on demand or are replaced.",
    )

    @property
    def max_body_bytes(self) -> int:
        """Largest request body in bytes: the largest image as base64, and the fields beside it."""
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
        "on this machine only. Turn it off if a gateway already authenticates.",
    )
    metrics_allow: NetworkList = Field(
        "127.0.0.0/8,::1/128",
        description="Networks whose clients may read `/metrics`, comma-separated. By default this machine only, "
        "because metrics show how the service is used. Add the network of Prometheus.",
    )
    body_timeout_s: PositiveSeconds = Field(
        120.0,
        description="Seconds that an upload may take. 20 MB in 120 s is 1.4 Mbit/s, a slow phone. Raise it together "
        "with MASKQ_MAX_IMAGE_BYTES.",
    )
    max_waiters: int = Field(
        10_000,
        ge=1,
        description="Long polls and event streams open at once in one process; further ones get 503. Each keeps a "
        "connection open: lower it if the process may open fewer files (`ulimit -n`).",
    )
    max_wait_s: PositiveSeconds = Field(
        60.0,
        description="Most seconds that `?wait=` and `Prefer: wait` may ask for. Proxies commonly close silent "
        "connections at 60 s; raise it together with the limit of the proxy.",
    )
