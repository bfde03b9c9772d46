"""Settings that two kinds of processes read: models, images, requests to URLs from clients."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from shared import VERSION
from shared.settings.group import PositiveSeconds, SettingsGroup


class ModelSettings(SettingsGroup):
    """Models"""

    read_by = "front end and workers"

    model_id: str = Field(
        "demo",
        min_length=1,
        description="The model of a worker: `demo`, an official id from models/registry.toml, a folder, or "
        "`NAME=FOLDER` to choose the name that clients use. The front end uses it for jobs that name no model; it does "
        "not need the folder. `demo` needs no download and runs on a CPU.",
    )
    models: str = Field(
        "",
        description="All models of a deployment with several, comma-separated, each as in MASKQ_MODEL_ID. Empty: only "
        "MASKQ_MODEL_ID. Only the front end needs it.",
    )
    models_dir: Path = Field(
        Path("models"),
        description="Folder with the shipped registry and the demo checkpoint. Relative paths start at the working "
        "directory. Change it only if these files are elsewhere.",
    )
    registry: Path | None = Field(
        None,
        description="File with models of your own, in the format of models/registry.toml: hub ids of your own, or "
        "folders with a description. Front ends and workers need it. Unset: only the shipped registry.",
    )


class ImageSettings(SettingsGroup):
    """Images"""

    read_by = "front end and workers"

    image_store: str = Field(
        "",
        description="Where images are kept. Empty: in Redis. Set `file:///folder` or `s3://bucket/prefix` once images "
        "outgrow the memory of Redis.",
    )
    max_image_pixels: int = Field(
        25_000_000,
        ge=1,
        description="Most pixels of an image, checked in its header. 25 million decode to 75 MB. Raise it for larger "
        "photos, together with MASKQ_DECODE_MEMORY_BYTES.",
    )
    decode_processes: int = Field(
        4,
        ge=1,
        le=64,
        description="Child processes of a front end or worker that decode images, each one at a time. Raise it if "
        "images wait while CPU cores are idle; lower it if memory is short.",
    )
    decode_memory_bytes: int = Field(
        1_000_000_000,
        ge=300_000_000,
        description="Bytes of memory that one of these child processes may use. The worst images of 25 million pixels "
        "need 515 MB. Raise it together with MASKQ_MAX_IMAGE_PIXELS.",
    )
    decode_cpu_s: int = Field(
        10,
        ge=1,
        description="Seconds of CPU time that one image may take to decode. Honest ones of 25 million pixels take up "
        "to 1.5 s. Raise it on a slow CPU.",
    )


class OutboundSettings(SettingsGroup):
    """Requests to URLs from clients"""

    read_by = "front end and webhooks"

    url_allow_http: bool = Field(
        False,
        description="Allow `http://` in `image_url` and `webhook_url`. Off, because others could read or change the "
        "content on the way. For closed networks and development.",
    )
    url_allow_private: bool = Field(
        False,
        description="Allow private addresses and any port in these URLs. Off, because clients could reach internal "
        "servers. For closed networks and development.",
    )
    user_agent: str = Field(
        f"maskq/{VERSION}",
        min_length=1,
        max_length=256,
        pattern=r"^[!-~]([ -~]*[!-~])?$",
        description="Text by which this service names itself to the servers of these URLs. Some, such as Wikimedia, "
        "refuse clients that name no address of their operator: `example-maskq/1.0 (https://example.com; "
        "admin@example.com)`.",
    )
    url_timeout_s: PositiveSeconds = Field(
        10.0,
        description="Seconds to fetch an image from `image_url`, redirects included. The client waits for it, so raise "
        "it only if image servers are slow.",
    )
