"""Shows and changes the secrets that sign webhooks: of the deployment at REDIS_URL, or of `scripts/up`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from local.broker import running_broker
from shared.process import entry_point
from shared.process.environment import load_settings
from shared.store.durability import require_durable_server
from webhooks import secrets_command


def main(program: str = "scripts/webhook-secrets") -> int:
    """As `python -m webhooks.secrets_command`, which needs REDIS_URL. `program` is the name in the help. Returns an
    exit status.

    Raises:
        ConfigurationError: the settings are wrong. No broker was started.
    """
    parser = secrets_command.argument_parser(program)
    parser.add_argument(
        "--data", type=Path, default=Path(".data"), help="folder of the embedded broker, without REDIS_URL"
    )
    options = parser.parse_args()
    settings = load_settings()
    if os.environ.get("REDIS_URL"):
        require_durable_server(settings.redis)
        return secrets_command.run(options)
    try:
        with running_broker((options.data / "broker").absolute()) as os.environ["REDIS_URL"]:
            return secrets_command.run(options)
    except TimeoutError as error:
        print(f"maskq: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    entry_point.run(main)
