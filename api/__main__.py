"""`python -m api`: the front end under uvicorn."""

from __future__ import annotations

import gc

from api.auth.policy import settle_access
from api.descriptors import settle_descriptors
from api.server import FrontEndServer
from shared.process import entry_point
from shared.process.command_line import PORT, CommandLine, require_address
from shared.process.environment import load_settings
from shared.process.logs import set_up_logging
from shared.process.redis_monitor import RedisMonitor
from shared.process.tracing import start_tracing
from shared.store.image_store import ImageStore
from shared.store.rights import Process


def main() -> int:
    """Serve until told to stop. Returns an exit status.

    Raises:
        ConfigurationError: the service cannot run with these settings, or Redis can no longer be used.
    """
    parser = CommandLine(prog="python -m api", description="The front end of maskq.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=PORT, default=8000)
    options = parser.parse_args()
    settings = load_settings()
    require_address(options.host, options.port)
    set_up_logging(settings.logging)
    monitor = RedisMonitor(settings.redis, Process.FRONT_END)
    monitor.is_there()  # without Redis the front end starts as well: it answers /livez, and 503 to other requests
    settings = settle_descriptors(settle_access(settings, options.host))
    ImageStore.require_usable(settings.images)
    start_tracing(settings.logging, "maskq-api")
    server = FrontEndServer(settings, options.host, options.port)
    gc.freeze()  # 100,000 permanent objects: each garbage collection over them would block for 50 ms
    with monitor.running(server.request_stop):
        server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    entry_point.run(main)
