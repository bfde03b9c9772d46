"""The commands of the operator as `maskq` has them: entry points of the group `maskq.commands` in pyproject.toml.

Each takes its arguments from `sys.argv`, and exits with a status.
"""

from __future__ import annotations

from functools import partial
from typing import NoReturn

from local import keys as keys_command
from local import up as up_command
from local import webhook_secrets as webhook_secrets_command
from shared.process import entry_point


def up() -> NoReturn:
    """`maskq up`, as `scripts/up`."""
    entry_point.run(partial(up_command.main, "maskq up"))


def keys() -> NoReturn:
    """`maskq keys`, as `scripts/keys`."""
    entry_point.run(partial(keys_command.main, "maskq keys"))


def webhook_secrets() -> NoReturn:
    """`maskq webhook-secrets`, as `scripts/webhook-secrets`."""
    entry_point.run(partial(webhook_secrets_command.main, "maskq webhook-secrets"))
