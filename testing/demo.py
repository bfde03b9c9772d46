"""The whole service with the demo checkpoint."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.broker import free_port
from local.up import local_service


@contextmanager
def fresh_demo() -> Iterator[str]:
    """A service without any jobs, with one worker that is ready. Yields its address."""
    os.environ.pop("REDIS_URL", None)
    with (
        tempfile.TemporaryDirectory() as name,
        Path(name, "log").open("wb") as log,
        local_service("127.0.0.1", free_port(), [None], Path(name), log) as service,
    ):
        service.wait_until_ready()
        yield service.url
