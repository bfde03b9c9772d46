"""`python -m api`: the front end under uvicorn."""

from __future__ import annotations

import argparse
import gc
import os
import sys

from api.auth.policy import settle_access
from api.server import FrontEndServer
from shared.errors import ConfigurationError
from shared.process.logs import set_up_logging
from shared.process.tracing import start_tracing
from shared.settings import load_settings
from shared.store.durability import require_durable_server


def main() -> int:
    """Serve until told to stop. Returns an exit status."""
    parser = argparse.ArgumentParser(prog="python -m api", description="The front end of maskq.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    try:
        settings = settle_access(load_settings(), options.host)
        set_up_logging(settings)
        require_durable_server(settings)
        start_tracing(settings, "maskq-api")
        server = FrontEndServer(settings, options.host, options.port)
    except ConfigurationError as error:
        print(f"maskq: {error.detail}", file=sys.stderr)  # noqa: T201  logs may not be set up yet
        return os.EX_CONFIG  # starting again will not help
    gc.freeze()  # 100,000 objects for life: collecting garbage among them stops everything for 50 ms, again and again
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
