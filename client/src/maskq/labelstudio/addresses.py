"""Where an image is, and who may fetch it. What a task says comes from whoever imported it."""

from __future__ import annotations

import base64
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, unquote, urlsplit

from maskq.labelstudio.problems import NoPrediction

_STORAGES = frozenset({"s3", "gs", "azure-blob"})
"""Schemes of addresses that only Label Studio can read: it has the keys of the storage."""
_UPLOADS = re.compile(r"/?upload/")
"""Old tasks have uploaded files without the folder before them."""
_FILES = re.compile(r"/(data/(upload|local-files)/|storage-data/|(tasks|projects)/\d+/(presign|resolve)/)")
"""Paths at which Label Studio has files. The token is sent to no others."""
_PORTS = {"http": 80, "https": 443}
ANY_HOST = "*"
"""As an allowed host: every address that the service fetches, which are public ones."""


@dataclass(frozen=True)
class Addresses:
    """The address of Label Studio, and other hosts that may have images."""

    label_studio: str
    """URL, without a slash at its end."""
    allowed_hosts: Sequence[str] = ()
    """`example.com`, `minio:9000`, `*.example.com`, or `ANY_HOST`."""

    def url_of(self, value: str, task_id: str) -> str:
        """The full URL for what stands in a task.

        Raises:
            NoPrediction: it is none that can be fetched, such as a path on somebody's disk.
        """
        parts = _split(value)
        if parts.scheme in _PORTS:
            return value
        if parts.scheme in _STORAGES:
            uri = base64.urlsafe_b64encode(value.encode()).decode()
            return f"{self.label_studio}/tasks/{task_id}/presign/?fileuri={uri}"
        if parts.scheme or parts.netloc or not value:
            raise NoPrediction(f"{value[:80]!r} is no address of an image that can be fetched")
        return self._at_label_studio(f"/data/{value.lstrip('/')}" if _UPLOADS.match(value) else value)

    def has_token(self, url: str) -> bool:
        """Whether the token belongs to this URL: it is a file of Label Studio."""
        parts = _split(url)
        path = unquote(parts.path)
        is_plain = posixpath.normpath(path).rstrip("/") == path.rstrip("/") and "\\" not in path
        root = urlsplit(self.label_studio).path
        return self._is_label_studio(parts) and is_plain and bool(_FILES.match(path.removeprefix(root)))

    def is_fetched_here(self, url: str) -> bool:
        """Whether this program fetches the URL itself, because it is Label Studio's or its host is allowed by name.

        Raises:
            NoPrediction: nobody may fetch it.
        """
        parts = _split(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise NoPrediction(f"{url[:80]!r} is no http URL")
        named = [each for each in self.allowed_hosts if each != ANY_HOST]
        if self._is_label_studio(parts) or any(_matches(parts, host) for host in named):
            return True
        if ANY_HOST not in self.allowed_hosts:
            raise NoPrediction(
                f"the host {parts.netloc.rpartition('@')[2]} is not allowed: --allow-host names those that are"
            )
        return False

    def _at_label_studio(self, path: str) -> str:
        root = urlsplit(self.label_studio)
        absolute = path if path.startswith("/") else f"/{path}"
        if root.path and absolute.startswith(f"{root.path}/"):
            absolute = absolute.removeprefix(root.path)
        return self.label_studio + absolute

    def _is_label_studio(self, parts: SplitResult) -> bool:
        return _origin(parts) == _origin(urlsplit(self.label_studio))


def _matches(parts: SplitResult, allowed: str) -> bool:
    host, colon, port = allowed.lower().rpartition(":") if re.search(r":\d+$", allowed) else (allowed.lower(), "", "")
    wanted = int(port) if colon else _PORTS[parts.scheme]
    return fnmatchcase(parts.hostname or "", host.strip("[]")) and _origin(parts)[2] == wanted


def _origin(parts: SplitResult) -> tuple[str, str | None, int]:
    return parts.scheme, parts.hostname, parts.port or _PORTS.get(parts.scheme, 0)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise NoPrediction(f"{url[:80]!r} is no URL") from None
    return parts
