"""Options of command lines: a wrong one is a wrong configuration, as a wrong setting is."""

from __future__ import annotations

import argparse
import errno
import re
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from shared.errors import ConfigurationError


class CommandLine(argparse.ArgumentParser):
    """A parser for which a wrong option is a wrong configuration: one line and status 78, as for a wrong setting."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError(f"{message}; {self.prog} --help shows all options")


def whole_number(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """A type for an option of a command line: a whole number in this range."""
    bounds = f"of at least {lowest}" if highest is None else f"from {lowest} to {highest}"

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text) or not lowest <= int(text) <= (highest or sys.maxsize):
            raise argparse.ArgumentTypeError(f"{text[:60]!r} must be a whole number {bounds}")
        return int(text)

    return read


PORT = whole_number(1, 65_535)
"""The type of an option for a TCP port."""


def require_address(host: str, port: int) -> None:
    """Check that this machine can listen there.

    Raises:
        ConfigurationError: the port is in use, or the host is not an address of this machine.
    """
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, protocol) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind(address)
                listener.listen()
    except (OSError, UnicodeError) as error:
        raise ConfigurationError(_not_listening(host, port, error)) from None


def _not_listening(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} cannot be used, another program uses it: choose another with --port"
    if isinstance(error, PermissionError):
        return f"port {port} on {host} cannot be used, this user may not: choose one above 1023 with --port"
    return (
        f"--host {host} is not an address of this machine; 127.0.0.1 is this machine only, 0.0.0.0 is all its addresses"
    )
