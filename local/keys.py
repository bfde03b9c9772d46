"""Creates, lists and revokes API keys: of the deployment at REDIS_URL, or of `scripts/up` on this machine."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from api.auth import keys_command
from local.broker import running_broker
from shared.process import entry_point
from shared.process.environment import load_settings
from shared.store.durability import require_durable_server


def main(program: str = "scripts/keys") -> int:
    """As `python -m api.auth.keys_command`, which needs REDIS_URL. `program` is the name in the help. Returns an exit
    status.

    Raises:
        ConfigurationError: the settings are wrong. No broker was started.
    """
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--data", type=Path, default=Path(".data"))
    options, rest = parser.parse_known_args()
    command = keys_command.argument_parser(program).parse_args(rest)
    settings = load_settings()
    if os.environ.get("REDIS_URL"):
        require_durable_server(settings.redis)
        return keys_command.run(command)
    with running_broker((options.data / "broker").absolute()) as url:
        os.environ["REDIS_URL"] = url
        return keys_command.run(command)


if __name__ == "__main__":
    entry_point.run(main)
