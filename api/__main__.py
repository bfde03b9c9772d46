"""`python -m api`: the front end under uvicorn."""

from __future__ import annotations

import argparse
import gc

from api.auth.policy import settle_access
from api.server import FrontEndServer
from shared.process import entry_point
from shared.process.environment import load_settings
from shared.process.logs import set_up_logging
from shared.process.tracing import start_tracing
from shared.store.durability import require_durable_server


def main() -> int:
    """Serve until told to stop. Returns an exit status.

    Raises:
        ConfigurationError: the service cannot run with these settings.
    """
    parser = argparse.ArgumentParser(prog="python -m api", description="The front end of maskq.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    settings = settle_access(load_settings(), options.host)
    set_up_logging(settings.logging)
    require_durable_server(settings.redis)
    start_tracing(settings.logging, "maskq-api")
    server = FrontEndServer(settings, options.host, options.port)
    gc.freeze()  # 100,000 permanent objects: each garbage collection over them would block for 50 ms
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    entry_point.run(main)
