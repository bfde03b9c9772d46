"""Options of command lines: which values are refused, and how."""

from __future__ import annotations

import socket

import pytest

from shared.errors import ConfigurationError
from shared.process.command_line import PORT, CommandLine, require_address, whole_number


@pytest.mark.parametrize("text", ["0", "-1", "65536", "99999", "http", "8000.0", "", "9" * 5_000])
def test_a_port_out_of_range_is_refused_with_the_range(text: str) -> None:
    parser = CommandLine(prog="program")
    parser.add_argument("--port", type=PORT)
    with pytest.raises(ConfigurationError, match=r"--port: .* from 1 to 65535; program --help"):
        parser.parse_args([f"--port={text}"])


def test_a_number_without_an_upper_bound_is_read() -> None:
    assert whole_number(1)("300") == 300


def test_a_port_in_use_is_refused_and_a_free_one_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"port {port} on 127.0.0.1 .* another program uses it"):
            require_address("127.0.0.1", port)
    require_address("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "nosuch.invalid", "a" * 100, ".."])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match="is not an address of this machine"):
        require_address(host, 8000)
