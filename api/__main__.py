"""`python -m api`: the front end under uvicorn."""

from __future__ import annotations

import argparse
import sys

import uvicorn

from api.app import create_app
from shared.errors import ConfigurationError
from shared.settings import load_settings
from shared.store.durability import require_durable_server
from shared.tracing import start_tracing

_EX_CONFIG = 78
"""sysexits.h: set up wrongly; starting again will not help."""


def main() -> int:
    """Serve until told to stop. Returns an exit status."""
    parser = argparse.ArgumentParser(prog="python -m api", description="The front end of maskq.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    try:
        settings = load_settings()
        require_durable_server(settings)
        start_tracing(settings, "maskq-api")
        app = create_app(settings)
    except ConfigurationError as error:
        print(f"maskq: {error.detail}", file=sys.stderr)  # noqa: T201  nothing is set up to log with yet
        return _EX_CONFIG
    uvicorn.run(app, host=options.host, port=options.port, access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
