"""A receiver of webhooks that one may kill: notes in a file what it was sent, then answers, or does not.

    python -m testing.webhook_receiver HOST:PORT FILE SECRET

Every tenth request, by chance, is answered 500 or not at all although it was noted. A note is on its way to the disk
before its sender hears anything, so killing the receiver loses none that was answered.
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
_DROPPED_SHARE = 0.05


@dataclass(frozen=True)
class Note:
    """What was received once."""

    id: str
    body: str
    is_signed: bool
    """By the secret, as the library of Standard Webhooks sees it."""
    at: float
    """Unix seconds."""

    @property
    def job_id(self) -> str:
        return str(json.loads(self.body)["data"]["id"])


def read_notes(file: Path) -> list[Note]:
    """All notes in a file; the last one may be cut short if its writer was killed."""
    lines = file.read_text("utf-8").splitlines(keepends=True) if file.exists() else []
    return [Note(**json.loads(line)) for line in lines if line.endswith("\n")]


def serve(address: str, file: Path, secret: str) -> None:
    """Receive until killed."""
    host, _, port = address.rpartition(":")
    verifier = Webhook(secret)
    lock = threading.Lock()
    notes = file.open("ab", buffering=0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = self.rfile.read(length)
            if len(body) < length:
                return  # its sender was killed while it wrote
            note = _note(verifier, dict(self.headers.items()), body)
            with lock:
                notes.write(json.dumps(note).encode() + b"\n")
            chance = random.random()
            if chance < _DROPPED_SHARE:
                return
            self.send_response(500 if chance < _DROPPED_SHARE + _REFUSED_SHARE else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((host, int(port)), Handler) as server:
        server.serve_forever()


def _note(verifier: Webhook, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    try:
        verifier.verify(body, headers)
    except WebhookVerificationError:
        is_signed = False
    else:
        is_signed = True
    return {"id": headers.get("webhook-id"), "body": body.decode(), "is_signed": is_signed, "at": time.time()}


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
