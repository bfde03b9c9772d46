"""Between the steps of operations and httpx2. Both clients use it."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

from maskq.batch_operations import BatchOperations
from maskq.configuration import Configuration
from maskq.exchange import Exchange
from maskq.steps import Answer, NoAnswer, Request

Verify = bool | ssl.SSLContext
"""How certificates are checked: as the system does, as a context says, or (False) not at all."""

RETRY_FOR_S = 120.0
"""How long a request is repeated, unless the caller says otherwise: longer than a restart of the service takes."""
_ANSWER_S = 30.0
"""Longest time until an answer begins or goes on, beyond what the request lets the service wait."""
_SEND_S = 60.0
_CONNECT_S = 10.0
_IDLE_CONNECTIONS = 64
_CERTIFICATE = "CERTIFICATE_VERIFY_FAILED"


@dataclass(frozen=True)
class Service:
    """What a client needs to call one service: its address, and operations on it."""

    configuration: Configuration
    operations: BatchOperations
    http_options: Mapping[str, Any]
    """Arguments for the client of httpx2."""

    @classmethod
    def at(cls, url: str | None, api_key: str | None, retry_for_s: float, verify: Verify) -> Service:
        """Arguments as for `Client`."""
        configuration = Configuration.of(url, api_key)
        options = {
            "base_url": configuration.url,
            "headers": configuration.headers,
            "limits": httpx2.Limits(max_connections=None, max_keepalive_connections=_IDLE_CONNECTIONS),
            # Plain HTTP checks no certificates, and loading them takes 0.2 s.
            "verify": verify if configuration.url.startswith("https:") else False,
        }
        return cls(configuration, BatchOperations(Exchange(retry_for_s)), options)


def arguments_of(request: Request) -> dict[str, Any]:
    """A request as arguments for the method `request` of httpx2."""
    arguments: dict[str, Any] = {
        "method": request.method,
        "url": request.path,
        "params": dict(request.params),
        "headers": dict(request.headers),
        "timeout": httpx2.Timeout(connect=_CONNECT_S, write=_SEND_S, read=_ANSWER_S + request.wait_s, pool=None),
    }
    if request.fields:
        arguments["data"] = dict(request.fields)
    if request.files:
        arguments["files"] = list(request.files)
    if request.json is not None:
        arguments["json"] = request.json
    return arguments


def answer_of(response: httpx2.Response) -> Answer:
    """A whole response of httpx2."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.content)


def no_answer_of(error: httpx2.RequestError) -> NoAnswer:
    """Why there is no response."""
    reason = f"{error}" or type(error).__name__
    is_ours = isinstance(error, (httpx2.LocalProtocolError, httpx2.UnsupportedProtocol))
    return NoAnswer(f"{error.request.url}: {reason}", is_final=is_ours or _CERTIFICATE in reason)
