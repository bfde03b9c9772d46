"""`python -m webhooks.secrets_command show|rotate|replace [OWNER]`: the secrets that sign the webhooks of one owner."""

from __future__ import annotations

import argparse
import asyncio
import sys

from redis.exceptions import RedisError

from shared.domain.job import ANONYMOUS
from shared.errors import ConfigurationError
from shared.process.environment import load_settings
from shared.settings import Settings
from shared.store.webhook_secrets import WebhookSecretStore


def run(options: argparse.Namespace) -> int:
    """Do what the command line says, and print the secrets that sign now, newest first. Returns an exit status."""
    try:
        secrets = asyncio.run(_secrets(load_settings(), options))
    except ConfigurationError as error:
        print(f"maskq: {error.detail}", file=sys.stderr)  # noqa: T201
        return 1
    except RedisError as error:
        print(f"maskq: the store does not answer: {type(error).__name__}", file=sys.stderr)  # noqa: T201
        return 1
    print("\n".join(secrets))  # noqa: T201
    return 0


def argument_parser(program: str) -> argparse.ArgumentParser:
    """What the command line may say: `how` and `owner`."""
    parser = argparse.ArgumentParser(prog=program, description="The secrets that sign webhooks.")
    commands = parser.add_subparsers(required=True, dest="how", metavar="show|rotate|replace")
    for name, about in (
        ("show", "print them; the first is made when it is first asked for"),
        ("rotate", "make a new one; the present one signs along for MASKQ_WEBHOOK_ROTATION_S"),
        ("replace", "make a new one; those before it sign no more, for when one has leaked"),
    ):
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument(
            "owner", nargs="?", default=ANONYMOUS, help="id of an API key; without one, callers that have none"
        )
    return parser


async def _secrets(settings: Settings, options: argparse.Namespace) -> list[str]:
    store = WebhookSecretStore.connect(settings)
    acts = {"show": store.show, "rotate": store.rotate, "replace": store.replace}
    try:
        return await acts[options.how](options.owner)
    finally:
        await store.close()


if __name__ == "__main__":
    sys.exit(run(argument_parser("python -m webhooks.secrets_command").parse_args()))
