"""One request to a receiver: which certificates are trusted, and what a delivery says about the others."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shared.domain.webhook import Webhook
from shared.outbound import Outbound
from shared.settings import Settings
from shared.store.deliveries import DeliveryLease
from testing.factories import stored_job
from testing.servers import serving
from tests.certificates import Authority, Certificate, self_signed
from webhooks.sender import ReceiverResponse, Sender

_SECRET = "whsec_" + "A" * 32


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _receiver(certificate: Certificate) -> Iterator[str]:
    """A receiver with this certificate on 127.0.0.1. Yields its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Receiver) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # refused handshakes
        server.socket = context.wrap_socket(server.socket, server_side=True)
        with serving(server):
            yield f"https://127.0.0.1:{server.server_port}/hook"


def _sent(url: str, ca_file: Path | None) -> ReceiverResponse:
    async def send() -> ReceiverResponse:
        settings = Settings.of(url_allow_private=True)
        webhook = Webhook(url=url, base_url="http://here/")
        lease = DeliveryLease(stored_job(webhook=webhook), webhook, token="1-a", attempts=0, claimed_at_ms=0)
        async with Outbound(settings.outbound, "webhook_url", ca_file) as outbound:
            return await Sender(outbound, timeout_s=10).send(lease, [_SECRET])

    return asyncio.run(send())


def test_a_private_ca_is_trusted_if_it_is_configured(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with _receiver(authority.certificate("127.0.0.1")) as url:
        assert _sent(url, authority.file).status == 204
        assert _sent(url, None).error == "certificate not trusted: it is not from a known CA"


@pytest.mark.parametrize(
    ("name", "days", "why"),
    [
        ("127.0.0.1", -1, "it has expired"),
        ("127.0.0.2", 1, "it is for another address"),
        ("receiver.example", 1, "it is for another address"),
    ],
)
def test_a_delivery_says_why_a_certificate_is_not_trusted(tmp_path: Path, name: str, days: int, why: str) -> None:
    authority = Authority(tmp_path)
    with _receiver(authority.certificate(name, days)) as url:
        assert _sent(url, authority.file).error == f"certificate not trusted: {why}"


def test_a_certificate_that_no_ca_signed_is_not_trusted(tmp_path: Path) -> None:
    with _receiver(self_signed(tmp_path, "127.0.0.1")) as url:
        assert _sent(url, Authority(tmp_path).file).error == "certificate not trusted: it is not from a known CA"
