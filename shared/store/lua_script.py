"""Scripts in Lua, called with named arguments, with named results.

A script in `scripts/` is the body of a function. The comments in front of it declare its arguments, one a line, in the
notation of Lua's language server:

    ---@param NAME TYPE description     `args.NAME` in the script
    ---@param NAME? TYPE description    the same; nil if Python passes None or an empty string

TYPE is string (bytes pass unchanged), number, boolean or string[], which must come last. The script returns a table of
named values, or nothing. Python passes the arguments by keyword and receives the table as a dict.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Self, TypeAlias

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from shared.store import key_names
from shared.store.confirmation import AsyncConfirmer, SyncConfirmer
from shared.store.records import named_values

Argument: TypeAlias = str | bytes | float | list[str] | None
Reply: TypeAlias = dict[str, Any]
"""What a script returned, by name; empty if it returned nothing. Text is bytes, true is 1, and false is None."""

_PARAMETER = re.compile(r"^---@param (\w+)(\??) (\S+)", re.MULTILINE)
_DEFINITION = re.compile(r"^local (?:function )?(\w+)(?:.*\n)(?:(?!^(?:local|--)).*\n)*", re.MULTILINE)
"""A function or a constant of `common.lua`, which begins at the start of a line."""
_IN_EVERY_SCRIPT = ("present", "elements_from", "flat", "require_primary")
"""What the code around a script uses."""
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str, bytes),
    "number": (int, float),
    "boolean": (bool,),
    "string[]": (list,),
}
_LUA_VALUES = {
    "string": "ARGV[{0}]",
    "string?": "present(ARGV[{0}])",
    "number": "tonumber(ARGV[{0}])",
    "number?": "tonumber(ARGV[{0}])",
    "boolean": "ARGV[{0}] == '1'",
    "string[]": "elements_from(ARGV, {0})",
}
"""How a script reads an argument that begins at an index of ARGV."""


def lua_source(name: str) -> str:
    """The text of `scripts/NAME.lua`."""
    return (files("shared.store") / "scripts" / f"{name}.lua").read_text("utf-8")


def _with_definitions(common: str, code: str) -> str:
    """Code in Lua with the functions and constants of `common` in front of it that it uses, directly or not.

    The server creates them anew with every call, so unused ones would slow it down.
    """
    for definition in reversed(list(_DEFINITION.finditer(common))):
        if definition[1] in _IN_EVERY_SCRIPT or re.search(rf"\b{definition[1]}\b", code):
            code = definition[0] + code
    return code


@dataclass(frozen=True)
class Parameter:
    """An argument that a script declares."""

    name: str
    type: str
    is_optional: bool

    def accepts(self, value: Argument) -> bool:
        """Whether a value has the declared type. A bool is not accepted as a number."""
        if value is None:
            return self.is_optional
        return isinstance(value, _PYTHON_TYPES[self.type]) and (type(value) is bool) == (self.type == "boolean")

    def lua(self, index: int) -> str:
        """Lua code for this field of `args`."""
        return f"{self.name} = {_LUA_VALUES[self.type + '?' * self.is_optional].format(index)}"


@dataclass(frozen=True)
class LuaScript:
    """A script from `scripts/` as Redis runs it."""

    name: str
    parameters: dict[str, Parameter]
    """By name, in the order of ARGV."""
    function: str
    """Lua code that defines `run(args)`, which is the script as a function, and all that it uses."""

    @classmethod
    def load(cls, name: str) -> Self:
        """Read `scripts/NAME.lua`.

        Raises:
            FileNotFoundError: there is no such script.
        """
        body = lua_source(name)
        parameters = {
            found[1]: Parameter(found[1], found[3], is_optional=bool(found[2])) for found in _PARAMETER.finditer(body)
        }
        code = _with_definitions(lua_source("common"), f"local function run(args)\n{body}\nend\n")
        return cls(name, parameters, key_names.as_lua(code) + "\n" + code)

    @property
    def source(self) -> str:
        """The whole script: it reads `args` from ARGV and returns the named results as a flat list. On a server that is
        no primary it fails, also if it would only read there.

        Raises:
            KeyError: an argument is declared with an unknown type.
        """
        return f"{self.function}\nrequire_primary()\nreturn flat(run({self.arguments_table(1)}))"

    def arguments_table(self, first: int) -> str:
        """Lua code for the table `args`, whose arguments begin at the index `first` of ARGV."""
        fields = [parameter.lua(index) for index, parameter in enumerate(self.parameters.values(), start=first)]
        return f"{{{', '.join(fields)}}}"

    def argv(self, arguments: Mapping[str, Argument]) -> list[str | bytes | float]:
        """ARGV for these arguments.

        Raises:
            TypeError: an argument is missing, unknown or of another type.
        """
        if arguments.keys() != self.parameters.keys():
            wrong = sorted(arguments.keys() ^ self.parameters.keys())
            raise TypeError(f"script {self.name}: missing or unknown arguments {wrong}")
        argv: list[str | bytes | float] = []
        for name, parameter in self.parameters.items():
            value = arguments[name]
            if not parameter.accepts(value):
                raise TypeError(f"script {self.name}: {name} must be {parameter.type}, not {type(value).__name__}")
            if value is None:
                argv.append("")
            elif isinstance(value, list):
                argv.extend(value)
            else:
                argv.append(int(value) if isinstance(value, bool) else value)
        return argv


class SyncScript:
    """A script on a server, for threads.

    Raises, when it is called:
        TypeError: an argument is missing, unknown or of another type.
        redis.RedisError: the server does not answer, or refuses.
    """

    def __init__(self, redis: Redis, name: str) -> None:
        self._script = LuaScript.load(name)
        self._run = redis.register_script(self._script.source)

    def __call__(self, **arguments: Argument) -> Reply:
        return named_values(self._run(args=self._script.argv(arguments)))

    def confirmed(self, confirmer: SyncConfirmer, **arguments: Argument) -> Reply:
        """The same, once replicas have confirmed what it changed. Raises also what `confirmer` raises."""
        return named_values(confirmer.run(self._run, self._script.argv(arguments)))


class AsyncScript:
    """A script on a server, for tasks. Raises as `SyncScript` does."""

    def __init__(self, redis: AsyncRedis, name: str) -> None:
        self._script = LuaScript.load(name)
        self._run = redis.register_script(self._script.source)

    async def __call__(self, **arguments: Argument) -> Reply:
        return named_values(await self._run(args=self._script.argv(arguments)))

    async def confirmed(self, confirmer: AsyncConfirmer | None, **arguments: Argument) -> Reply:
        """The same, once replicas have confirmed what it changed; None: at once. Raises as `confirmer` does too."""
        if confirmer is None:
            return await self(**arguments)
        return named_values(await confirmer.run(self._run, self._script.argv(arguments)))
