"""Settings that only the front end reads: submissions and HTTP."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from shared.settings.group import NetworkList, PositiveSeconds, SettingsGroup
from shared.settings.origins import origin_list

COPIES = 2
"""How often an image is in memory while it is submitted: as received and as decoded from the body, or as decoded and as
packed for Redis."""
_HTTP_URL = re.compile(r"https?://([\w.-]+|\[[0-9a-f:.]+\])(:\d+)?(/(?!\.+(/|$))[\w.~-]+)*/?", re.IGNORECASE | re.ASCII)
"""A host and a path that need no escaping in a header, in HTML or in JavaScript."""

_NAME = re.compile(r"\*|[\w.-]+|[0-9a-f:.]+", re.IGNORECASE | re.ASCII)


def _public_url(value: str) -> str:
    """The URL with its scheme in lower case and without a slash at its end."""
    if value and not (_HTTP_URL.fullmatch(value) and _has_port_in_range(value)):
        raise ValueError(
            "must be like https://example.com or https://example.com/maskq: http or https, a host, if needed a port "
            "and a path of letters, digits and . _ ~ -, without user, query and fragment"
        )
    scheme, *rest = value.rstrip("/").split(":", 1)
    return ":".join([scheme.lower(), *rest])


def _has_port_in_range(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _proxies(value: str) -> str:
    try:
        networks = [] if value == "*" else [each.strip() for each in value.split(",")]
        for network in networks:
            ipaddress.ip_network(network)
    except ValueError:
        raise ValueError("must be addresses or networks like 10.0.0.0/8, comma-separated, or *") from None
    return value


def _hosts(value: str) -> str:
    for host in value.split(",") if value else ():
        if not _NAME.fullmatch(host.strip()):
            raise ValueError("must be host names without ports like api.example.com, comma-separated, or *")
    return value


class SubmissionSettings(SettingsGroup):
    """Submissions"""

    read_by = "front end"

    max_image_bytes: int = Field(
        30_000_000,
        ge=1,
        description="Bytes of the largest image file. Photos of 50 megapixels have up to 25 MB, and phones put a short "
        "film behind some. Raise it together with the limit of the proxy.",
    )
    upload_memory_bytes: int = Field(
        1_000_000_000,
        ge=1,
        description="Bytes of memory of one process for all images in progress: uploads and images behind `image_url`, "
        "which count twice because they are copied once, and large answers. Further requests get 429 or 503. 1 GB "
        "holds 12 of the largest uploads. Set it to what the container's memory allows, see docs/capacity.md.",
    )
    max_fetches: int = Field(
        256,
        ge=1,
        description="Images behind `image_url` that one process fetches at once; further ones get 429 or 503. Each has "
        "a connection open for up to MASKQ_URL_TIMEOUT_S. Raise it if clients submit many URLs on slow servers.",
    )
    drawing_cache_bytes: int = Field(
        64_000_000,
        ge=0,
        description="Bytes of memory of one process for overlays, masks and documents that were made in the last ten "
        "minutes, so that another request for one does not make it again. 0 turns this off.",
    )
    max_queued_jobs: int = Field(
        1_000,
        ge=1,
        description="Jobs that may wait per model; further ones get 429. It bounds the wait and the memory for images. "
        "Raise it if clients submit large batches and the store has room.",
    )
    max_batch_images: int = Field(
        1_000,
        ge=1,
        le=1_000,
        description="Images of one request to POST /batches. They are read one after the other, so it does not decide "
        "about memory. A client whose share of MASKQ_MAX_QUEUED_JOBS is used up on the way repeats the request.",
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

    @property
    def max_batch_bytes(self) -> int:
        """Largest body of a request with many images."""
        return self.max_batch_images * self.max_body_bytes

    @property
    def max_zip_bytes(self) -> int:
        """Largest zip of images. While it arrives it is in memory twice, and may use half of it; while its images are
        read, once, beside the copies of one of them. Both fit into the share of one client."""
        share = self.upload_memory_bytes * 3 // 4
        return min(self.upload_memory_bytes // (2 * COPIES), share - COPIES * self.max_image_bytes)

    @model_validator(mode="after")
    def _one_upload_fits(self) -> Self:
        needed = COPIES * self.max_body_bytes
        if needed > self.upload_memory_bytes * 3 // 4:  # the share of one client, as in shared/domain/fair_share.py
            raise ValueError(
                f"MASKQ_UPLOAD_MEMORY_BYTES={self.upload_memory_bytes} has no room for one upload of MASKQ_MAX_IMAGE_"
                f"BYTES={self.max_image_bytes}: {COPIES} copies as base64 are {needed} bytes, and a client may use "
                "three quarters"
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
    public_url: Annotated[str, AfterValidator(_public_url)] = Field(
        "",
        description="URL of the service as clients see it, for example `https://example.com/maskq`. All links begin "
        "with it, whatever host a request names. The proxy may remove its path or pass it on. Empty: links follow the "
        "request and FORWARDED_ALLOW_IPS. Set it once others than this machine are served.",
    )
    allowed_hosts: Annotated[str, AfterValidator(_hosts)] = Field(
        "",
        description="Names by which requests may call this service while it requires no API keys, comma-separated: "
        "its name in a network or behind a gateway. `localhost`, the host of MASKQ_PUBLIC_URL and IP addresses need no "
        "entry (loopback addresses, if only this machine can connect). Others get 421, so that a page in a browser "
        "cannot read jobs under a name of its own. `*` allows all names.",
    )
    cors_origins: Annotated[str, AfterValidator(origin_list)] = Field(
        "",
        description="Origins of web pages that may send requests from a browser and read the answers (CORS), for "
        "example `https://app.example.com,http://localhost:3000`, comma-separated. A page needs an API key like any "
        "client; without keys, pages of these origins may do everything. Empty: none but this service's own.",
    )
    forwarded_allow_ips: Annotated[str, AfterValidator(_proxies)] = Field(
        "127.0.0.1",
        validation_alias="FORWARDED_ALLOW_IPS",
        description="Addresses or networks of the proxies, comma-separated. X-Forwarded-For, -Proto, -Host and -Prefix "
        "count from them only. `*` trusts everyone, so a client could choose its address: use it only where nothing "
        "but the proxy can connect.",
    )
    metrics_allow: NetworkList = Field(
        "127.0.0.0/8,::1/128",
        description="Networks whose clients may read `/metrics`, comma-separated. By default this machine only, "
        "because metrics show how the service is used. Add the network of Prometheus, which must ask directly: what a "
        "proxy passes on is refused.",
    )
    body_timeout_s: PositiveSeconds = Field(
        120.0,
        description="Seconds that an upload may take. 30 MB in 120 s is 2 Mbit/s, a slow phone. Raise it together "
        "with MASKQ_MAX_IMAGE_BYTES.",
    )
    max_connections: int = Field(
        16_000,
        ge=8,
        description="Connections open at once in one process; further ones get 503, and one client that has most of "
        "them 429. Each takes up to 100 kB and an open file. The process raises its limit on open files (`ulimit -n`), "
        "and takes fewer connections if it may not. Lower it if memory is short.",
    )
    max_waiters: int = Field(
        10_000,
        ge=1,
        description="Long polls and event streams open at once in one process; further ones get 503. Each keeps a "
        "connection open: they get at most three quarters of MASKQ_MAX_CONNECTIONS.",
    )
    max_wait_s: PositiveSeconds = Field(
        60.0,
        description="Most seconds that `?wait=` and `Prefer: wait` may ask for. Proxies commonly close silent "
        "connections at 60 s; raise it together with the limit of the proxy.",
    )
