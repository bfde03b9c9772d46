"""`python -m webhooks.secrets_command show|rotate|replace [OWNER]`: the secrets that sign the webhooks of one owner."""

from __future__ import annotations

import argparse
import asyncio
import sys

from redis.exceptions import RedisError

from shared.domain.job import ANONYMOUS
from shared.errors import StoreUnconfirmed
from shared.process import entry_point
from shared.process.environment import load_settings
from shared.settings import Settings
from shared.store.server_faults import reason_of, require_healing
from shared.store.webhook_secrets import WebhookSecretStore


def run(options: argparse.Namespace) -> int:
    """Run one command, and print the secrets that sign now, newest first. Returns an exit status.

    Raises:
        ConfigurationError: the settings are wrong, or the server refuses REDIS_URL.
    """
    settings = load_settings()
    try:
        secrets = asyncio.run(_secrets(settings, options))
    except RedisError as error:
        require_healing(error, settings.redis)
        print(f"maskq: the store does not answer: {reason_of(error)}", file=sys.stderr)  # noqa: T201
        return 1
    except StoreUnconfirmed as error:
        print(f"maskq: {error.detail}", file=sys.stderr)  # noqa: T201
        return 1
    print("\n".join(secrets))  # noqa: T201
    return 0


def argument_parser(program: str) -> argparse.ArgumentParser:
    """Parser of the command line. Its results are `command` and `owner`."""
    parser = argparse.ArgumentParser(prog=program, description="The secrets that sign webhooks.")
    commands = parser.add_subparsers(required=True, dest="command", metavar="show|rotate|replace")
    for name, about in (
        ("show", "print the secrets; the first one is made when it is first needed"),
        ("rotate", "make a new secret; the present one also signs for MASKQ_WEBHOOK_ROTATION_S"),
        ("replace", "make a new secret; earlier ones sign no longer, for example after a leak"),
    ):
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument(
            "owner", nargs="?", default=ANONYMOUS, help="id of an API key; without it, the owner of jobs without a key"
        )
    return parser


async def _secrets(settings: Settings, options: argparse.Namespace) -> list[str]:
    store = WebhookSecretStore.connect(settings)
    methods = {"show": store.show, "rotate": store.rotate, "replace": store.replace}
    try:
        return await methods[options.command](options.owner)
    finally:
        await store.close()


if __name__ == "__main__":
    entry_point.run(lambda: run(argument_parser("python -m webhooks.secrets_command").parse_args()))
