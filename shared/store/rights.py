"""What each kind of process needs of Redis: commands, keys and channels. The check at its start and the users in
`deploy/redis/users` are compared with this."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Self

from redis import Redis

from shared.store import key_names
from shared.store.key_names import KeyName
from shared.store.lua_script import SyncScript, lua_source

_ANY = "unused"
"""Stands for the id, the model or the owner in the name of a key."""
_CHANNELS = {"CHANGES": key_names.CHANGES, "CANCELED": key_names.CANCELED}
UNUSED_KEY = key_names.UNUSED
_EVERY = frozenset({"EVALSHA", "INFO", "PING", "SCRIPT LOAD", "SETRANGE"})
"""Commands of every process: to run scripts, and to see whether the server can be used."""
_NOTIFY = frozenset({"MULTI", "EXEC", "SADD", "SMEMBERS", "LPUSH", "LLEN", "EXISTS"})
_CONSUME = _NOTIFY | {"BRPOP"}
"""Commands of Celery that sends messages, and that receives them too."""
_BINDINGS = ("_kombu.binding.unused", "_kombu.binding_permanent.unused")
_QUEUES = ("maskq.unused", "maskq-webhooks")
_ARGUMENTS = {
    **dict.fromkeys(("EXEC", "INFO", "MULTI", "PING", "TIME"), ""),
    **dict.fromkeys(("DEL", "EXISTS", "UNLINK"), UNUSED_KEY),
    **dict.fromkeys(("BLPOP", "BRPOP"), f"{UNUSED_KEY} 0"),
    "COPY": f"{UNUSED_KEY} {UNUSED_KEY}",
    "EVALSHA": f"{_ANY} 0",
    "WAIT": "0 0",
    "WAITAOF": "0 0 0",
    "SCRIPT LOAD": _ANY,
}
"""With which a command is checked: a server looks for the keys in them, and Redis 7.0.15 crashes if `EVALSHA` has none.
All other commands have one key, and it comes first."""
_MAX_NAMED = 6
_ON_KEYS = ("HGETALL", "HINCRBY")
"""Commands of every process: with them, access to keys is checked."""
_ELSEWHERE = {*_ON_KEYS, "PUBLISH", "SUBSCRIBE"}
"""Commands that are checked before the others."""


@dataclass(frozen=True)
class Rights:
    """What one kind of process may have to do. Names of keys have `unused` for their variable parts."""

    name: str
    commands: Set[str]
    read: Set[str]
    """Keys that are only read."""
    written: Set[str]
    """Keys that are read and written."""
    published: Set[str]
    """Channels that are sent to."""
    subscribed: Set[str]

    @classmethod
    def of(
        cls, name: str, *, scripts: str, commands: Set[str], read: Set[str], written: Set[str], subscribed: Set[str]
    ) -> Self:
        """The rights of a process that runs these scripts (names separated by spaces), and beside them these commands.
        The scripts only read the keys that are in `read`."""
        code = "".join(_code(script) for script in scripts.split())
        used = set(re.findall(r"\w+", code))
        in_scripts = set(re.findall(r"redis\.p?call\('(\w+)'", code))
        keys = {_sample(value) for name, value in vars(key_names).items() if _lua_name(name) in used - set(_CHANNELS)}
        published = {channel for constant, channel in _CHANNELS.items() if constant in used}
        all_written = {UNUSED_KEY, *keys, *written} - read
        return cls(name, _EVERY | in_scripts | commands, read, all_written, published, subscribed)

    def confirming(self, wait: str) -> Self:
        """The same, and what is needed to wait for replicas with this command."""
        return replace(self, commands=self.commands | {"SET", wait}, written=self.written | {key_names.CONFIRMED})

    def as_commands(self) -> Iterator[tuple[str, str]]:
        """Each right, and a command that needs it."""
        yield from ((command, _checked(command)) for command in _ON_KEYS)
        yield from ((f"reading {_pattern(key)}", f"HGETALL {key}") for key in sorted(self.read))
        yield from ((f"writing {_pattern(key)}", f"HINCRBY {key} n 1") for key in sorted(self.written))
        yield from ((f"PUBLISH {channel}", f"PUBLISH {channel} message") for channel in sorted(self.published))
        yield from ((f"SUBSCRIBE {channel}", f"SUBSCRIBE {channel}") for channel in sorted(self.subscribed))
        yield from ((command, _checked(command)) for command in sorted(self.commands) if command not in _ELSEWHERE)

    def missing(self, redis: Redis) -> list[str]:
        """The rights that the user of this client lacks. Empty on a server that cannot tell, such as one older than
        Redis 7.

        Raises:
            redis.RedisError: the server does not answer, or this user may not even run scripts.
        """
        rights, commands = zip(*self.as_commands(), strict=True)
        found = SyncScript(redis, "missing_rights")(commands=list(commands))
        return [rights[number - 1] for number in found.get("missing", [])]


def named_rights(rights: Sequence[str]) -> str:
    """The rights that a user lacks, for a message: some of them, and the number of the others."""
    named = ", ".join(rights[:_MAX_NAMED])
    return named if len(rights) <= _MAX_NAMED else f"{named} and {len(rights) - _MAX_NAMED} more"


def _checked(command: str) -> str:
    return f"{command} {_ARGUMENTS.get(command, f'{UNUSED_KEY} 0 0')}"


def _pattern(key: str) -> str:
    return key if key == UNUSED_KEY else key.replace(_ANY, "*")


def _words(text: str) -> Set[str]:
    return frozenset(text.split())


def _sample(name: object) -> str:
    """A key of this name."""
    return name(*[_ANY] * len(name.values)) if isinstance(name, KeyName) else str(name)


def _lua_name(name: str) -> str:
    return name if name.isupper() else f"{name}_key"


@cache
def _functions() -> dict[str, str]:
    """The functions of `common.lua` by their names."""
    parts = re.split(r"^local function (\w+)", lua_source("common"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _code(script: str) -> str:
    """The text of a script and of all common functions that it calls, directly or not; without comments."""
    code, waiting = "", [lua_source(script)]
    seen: set[str] = set()
    while waiting:
        text = re.sub(r"--.*", "", waiting.pop())
        code += text
        called = _functions().keys() & set(re.findall(r"\w+", text)) - seen
        seen |= called
        waiting += [_functions()[name] for name in called]
    return code


class Process(Enum):
    """The kinds of processes, and their rights."""

    FRONT_END = Rights.of(
        "front end",
        scripts="admit begin_batch cancel close_batch delete list live note_confirmed ping read read_batch reap "
        "redeliver submit",
        commands=_NOTIFY | _words("GET HGETALL HMGET LRANGE SUBSCRIBE TIME ZCARD ZCOUNT ZRANGE ZSCORE"),
        read={
            key_names.API_KEYS,
            key_names.DELIVERERS,
            key_names.DELIVERY_COUNTS,
            _sample(key_names.workers),
        },
        written={*_BINDINGS, *_QUEUES, key_names.LINK_SECRET},
        subscribed={key_names.CHANGES},
    )
    WORKER = Rights.of(
        "worker",
        scripts="claim fall_asleep finish heartbeat live note_confirmed ping reap release",
        commands=_CONSUME | _words("BLPOP HMGET SREM SUBSCRIBE TIME ZREM"),
        read=set(),
        written={*_BINDINGS, *_QUEUES},
        subscribed={key_names.CANCELED},
    )
    DELIVERER = Rights.of(
        "deliverer of webhooks",
        scripts="claim_delivery heartbeat_deliverer keep_delivery live record_attempt webhook_secrets",
        commands=_CONSUME,
        read={_sample(key_names.job), _sample(key_names.batch)},
        written={*_BINDINGS, "maskq-webhooks", key_names.DELIVERERS},
        subscribed=set(),
    )
