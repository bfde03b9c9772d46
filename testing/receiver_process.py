"""A receiver of webhooks in a process of its own, which can be killed: it records in a file what it received.

    python -m testing.receiver_process HOST:PORT FILE SECRET

About every tenth request is recorded and then answered 500, or not answered at all. A record is written before the
answer, so killing the receiver loses nothing that was answered.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

_REFUSED_SHARE = 0.05
_UNANSWERED_SHARE = 0.05


@dataclass(frozen=True)
class ReceivedWebhook:
    """One request."""

    id: str
    body: str
    is_signed: bool
    """Whether the library of Standard Webhooks accepts its signature by the secret."""
    at: float
    """Unix seconds."""

    @property
    def job_id(self) -> str:
        return str(json.loads(self.body)["data"]["id"])


def read_received(file: Path) -> list[ReceivedWebhook]:
    """All records in a file. An incomplete last line is left out: the receiver was killed while it wrote."""
    lines = file.read_text("utf-8").splitlines(keepends=True) if file.exists() else []
    return [ReceivedWebhook(**json.loads(line)) for line in lines if line.endswith("\n")]


def serve(address: str, file: Path, secret: str) -> None:
    """Receive until killed."""
    host, _, port = address.rpartition(":")
    verifier = Webhook(secret)
    lock = threading.Lock()
    records = file.open("ab", buffering=0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                return  # the sender was killed while it wrote
            record = _record(verifier, dict(self.headers.items()), body)
            with lock:
                records.write(json.dumps(record).encode() + b"\n")
            chance = random.random()
            if chance < _UNANSWERED_SHARE:
                return
            self.send_response(500 if chance < _UNANSWERED_SHARE + _REFUSED_SHARE else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((host, int(port)), Handler) as server:
        server.serve_forever()


def _record(verifier: Webhook, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    try:
        verifier.verify(body, headers)
    except WebhookVerificationError:
        is_signed = False
    else:
        is_signed = True
    return {"id": headers.get("webhook-id"), "body": body.decode(), "is_signed": is_signed, "at": time.time()}


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
