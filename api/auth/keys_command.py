"""The command line for API keys, `python -m api.auth.keys_command`: creates, lists and revokes keys at REDIS_URL."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from redis.exceptions import RedisError

from shared.domain.api_key import ApiKey, Scope
from shared.errors import StoreUnconfirmed
from shared.process import entry_point
from shared.process.environment import load_settings
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore
from shared.store.server_faults import reason_of, require_healing

_ROW = "{:<16}  {:<20}  {:<18}  {:>8}  {:>5}  {:>5}  {}"

Command = Callable[[ApiKeyStore, argparse.Namespace], Awaitable[int]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns an exit status.

    Raises:
        ConfigurationError: as `run`.
    """
    return run(argument_parser("keys").parse_args(arguments))


def run(options: argparse.Namespace) -> int:
    """Run one command. Returns an exit status.

    Raises:
        ConfigurationError: the settings are wrong, or the server refuses REDIS_URL.
    """
    settings = load_settings()
    try:
        return asyncio.run(_run(settings, options))
    except RedisError as error:
        require_healing(error, settings.redis)
        print(f"maskq: the store does not answer: {reason_of(error)}", file=sys.stderr)
        return 1
    except StoreUnconfirmed as error:
        print(f"maskq: {error.detail}", file=sys.stderr)
        return 1


async def _run(settings: Settings, options: argparse.Namespace) -> int:
    store = ApiKeyStore.connect(settings.redis)
    try:
        command: Command = options.run
        return await command(store, options)
    finally:
        await store.close()


async def _create(store: ApiKeyStore, options: argparse.Namespace) -> int:
    scopes = [Scope(name) for name in options.scopes.split(",")]
    key, secret = await store.create(options.name, scopes, options.per_minute, options.burst, options.share)
    await store.confirm()
    print(
        f"{key.id} ({key.name}) may {', '.join(sorted(key.scopes))}. Store this secret; it is not shown again:",
        file=sys.stderr,
    )
    print(secret)
    return 0


async def _list(store: ApiKeyStore, options: argparse.Namespace) -> int:
    print(_ROW.format("id", "name", "scopes", "per min", "burst", "share", "created"))
    for key in await store.list():
        print(_row(key))
    return 0


def _row(key: ApiKey) -> str:
    created = datetime.fromtimestamp(key.created_at_ms / 1000, UTC).isoformat(timespec="seconds")
    scopes = ",".join(sorted(key.scopes))
    return _ROW.format(key.id, key.name, scopes, f"{key.per_minute:g}", key.burst, key.share, created)


async def _revoke(store: ApiKeyStore, options: argparse.Namespace) -> int:
    if await store.revoke(options.id):
        await store.confirm()
        print(f"{options.id} is revoked; its jobs stay until they expire", file=sys.stderr)
        return 0
    print(f"no key has the id {options.id}; see `list`", file=sys.stderr)
    return 1


def argument_parser(program: str) -> argparse.ArgumentParser:
    """Parser of the command line. `run` takes its result."""
    parser = argparse.ArgumentParser(prog=program, description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="create|list|revoke")
    create = commands.add_parser("create", help="make a key and show its secret, once")
    create.add_argument("name", help="who uses the key, in your words")
    create.add_argument(
        "--scopes",
        default="submit,read",
        type=_scopes,
        help="of submit, read, admin; comma-separated",
    )
    create.add_argument(
        "--per-minute",
        type=_positive(float),
        default=600.0,
        help="submissions per minute in the long run, and 20 times as many reads (default: 600)",
    )
    create.add_argument(
        "--burst",
        type=_positive(int),
        default=100,
        help="submissions at once, and 20 times as many reads (default: 100)",
    )
    create.add_argument("--share", type=_positive(int), default=1, help="weight in the fair queue (default: 1)")
    create.set_defaults(run=_create)
    commands.add_parser("list", help="list all keys, without their secrets").set_defaults(run=_list)
    revoke = commands.add_parser("revoke", help="revoke a key, from the next request on")
    revoke.add_argument("id", help="id of the key, as `list` shows it")
    revoke.set_defaults(run=_revoke)
    return parser


def _scopes(text: str) -> str:
    if unknown := set(text.split(",")) - set(Scope):
        raise argparse.ArgumentTypeError(f"unknown scope {', '.join(sorted(unknown))}; known: {', '.join(Scope)}")
    return text


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        number = kind(text)
        if not 0 < number < 1e9:
            raise argparse.ArgumentTypeError("must be above 0")
        return number

    return read


if __name__ == "__main__":
    entry_point.run(main)
