"""`maskq labelstudio` as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLIENT = Path(__file__).parents[3] / "client" / "src"


@contextmanager
def backend_process(service: str, label_studio: str, log: Path, *options: str, **env: str) -> Iterator[str]:
    """The URL of a backend that runs inside the context. `log` gets what it writes to standard error."""
    arguments = ["labelstudio", "--json", "--port", "0", "--label-studio-url", label_studio, *options]
    command = [sys.executable, "-m", "maskq", "--url", service, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(_CLIENT), **env}
    with (
        log.open("wb") as errors,
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout
        try:
            line = process.stdout.readline()
            assert line, log.read_text()
            yield json.loads(line)["url"]
        finally:
            process.terminate()
            process.wait(20)
