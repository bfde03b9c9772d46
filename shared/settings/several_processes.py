"""Settings that two kinds of processes read: models, images, requests to URLs from clients."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from shared import VERSION
from shared.settings.group import PositiveSeconds, SettingsGroup

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIC")
"""What can be read. Pillow knows 43 formats, and runs other programs to read some of them."""


def _image_formats(value: str) -> str:
    names = [name.strip().upper() for name in value.split(",")]
    if unknown := set(names) - set(IMAGE_FORMATS):
        raise ValueError(f"has unknown formats: {', '.join(sorted(unknown))}. Known: {', '.join(IMAGE_FORMATS)}")
    return ",".join(names)


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
        65_000_000,
        ge=1,
        description="Most pixels of an image, checked in its header. Phones take photos of 48, 50 and 64 million. HEIC "
        "may have 4/5 of it, AVIF 5/8 and WebP a half, as they take more memory. Raise it for larger photos, together "
        "with MASKQ_DECODE_MEMORY_BYTES.",
    )
    image_formats: Annotated[str, AfterValidator(_image_formats)] = Field(
        "jpeg,png,webp,gif,bmp,tiff,avif,heic",
        description="Formats of images that are accepted, comma-separated. By default all that can be read: what "
        "phones, cameras, scanners and browsers write. Leave out those that you do not expect; each has a decoder of "
        "its own that an image could attack.",
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
        description="Bytes of memory that one of these child processes may use. The worst images within the limits "
        "need 600 MB, photos of phones 30 to 500 MB. Raise it together with MASKQ_MAX_IMAGE_PIXELS.",
    )
    decode_cpu_s: int = Field(
        10,
        ge=1,
        description="Seconds of CPU time that one image may take to decode. Honest ones of 65 million pixels take up "
        "to 2 s. Raise it on a slow CPU.",
    )

    decode_exact: bool = Field(
        False,
        description="Decode JPEGs of up to 25 million pixels in full. Off, because the model sees a fraction of them: "
        "one of more than 2 million is decoded at a half, a quarter or an eighth of its size, with at least twice the "
        "pixels that the model sees in each direction. Turn it on to compare with other implementations.",
    )

    @property
    def accepted_formats(self) -> tuple[str, ...]:
        """Those of `IMAGE_FORMATS` that are accepted, in that order."""
        return tuple(name for name in IMAGE_FORMATS if name in self.image_formats.split(","))


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
