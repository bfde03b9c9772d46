"""Whether a server speaks TLS or not: asked when a connection to it failed without a reason. No secret is sent."""

from __future__ import annotations

import socket
import ssl

from shared.settings.redis_url import Endpoint

_MAX_S = 2.0


def speaks_plain(server: Endpoint, timeout_s: float) -> bool:
    """Whether the server answers a `PING` without TLS as Redis does. False if it does not answer."""
    try:
        with _connection(server, timeout_s) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(1) in {b"+", b"-"}
    except OSError:
        return False


def speaks_tls(server: Endpoint, timeout_s: float) -> bool:
    """Whether the server takes part in a TLS handshake. False if it does not answer."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent to the server
    try:
        with _connection(server, timeout_s) as connection, context.wrap_socket(connection):
            return True
    except ssl.SSLError as error:
        return "ALERT" in str(error.reason)  # it wants a certificate of the client, for example
    except OSError:
        return False


def _connection(server: Endpoint, timeout_s: float) -> socket.socket:
    return socket.create_connection(server, min(_MAX_S, timeout_s))
