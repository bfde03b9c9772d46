"""A receiver of webhooks on this host."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.broker import free_port
from testing.receiver_process import ReceivedWebhook, read_received
from tests.e2e.compose.stack import Stack


@dataclass(frozen=True)
class Receiver:
    """Records every webhook, and refuses some of them."""

    url: str
    _notes: Path

    def notes(self) -> list[ReceivedWebhook]:
        return read_received(self._notes)


@contextmanager
def receiving(stack: Stack) -> Iterator[Receiver]:
    """Run a receiver for the duration of the context, at an address that the deliverer's container can reach."""
    (deliverer,) = stack.containers("webhooks")
    (secret,) = stack.execute(deliverer, "python", "-m", "webhooks.secrets_command", "show").split()
    address = f"{stack.gateway('outside')}:{free_port()}"
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        process = subprocess.Popen([sys.executable, "-m", "testing.receiver_process", address, notes, secret])
        try:
            yield Receiver(f"http://{address}/hook", notes)
        finally:
            process.kill()
            process.wait()
