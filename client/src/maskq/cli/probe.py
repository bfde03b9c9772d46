"""Single requests to the service, without repetitions."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import httpx2

from maskq.configuration import Configuration
from maskq.errors import RequestError
from maskq.typed import Json, Self

_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Probed:
    """One answer."""

    response: httpx2.Response
    sent_at: float
    """Seconds since 1970, by the clock of this machine."""
    took_s: float
    certificate: Json | None
    """The certificate of the service as `ssl` has it; None if there is none."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status_code

    @property
    def json(self) -> Any:
        """The body; None if it is no JSON."""
        try:
            return json.loads(self.response.content)
        except ValueError:
            return None

    @property
    def error(self) -> RequestError:
        """The error that it is."""
        return RequestError.of(self.status, self.response.headers, self.response.content)


class Prober:
    """Sends requests to one service. Use as a context."""

    def __init__(self, configuration: Configuration, timeout_s: float = _TIMEOUT_S) -> None:
        self.configuration = configuration
        is_encrypted = configuration.url.startswith("https:")
        self._http = httpx2.Client(
            base_url=configuration.url, headers=configuration.headers, timeout=timeout_s, verify=is_encrypted
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.close()

    def send(self, method: str, path: str) -> Probed:
        """Send one request.

        Raises:
            httpx2.RequestError: there is no answer.
        """
        sent_at, begin = time.time(), time.monotonic()
        with self._http.stream(method, path) as response:
            certificate = _certificate(response)  # before the end of the answer, which may close the connection
            response.read()
        return Probed(response, sent_at, time.monotonic() - begin, certificate)


def _certificate(response: httpx2.Response) -> Json | None:
    stream = response.extensions.get("network_stream")
    encrypted = stream.get_extra_info("ssl_object") if stream else None
    return encrypted.getpeercert() if encrypted else None
