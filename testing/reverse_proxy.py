"""nginx as a reverse proxy with TLS in front of a front end, under a path."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testing.required import require_program

_CONFIGURATION = """
pid {folder}/nginx.pid;
error_log stderr warn;
daemon off;
events {{}}
http {{
    access_log off;
    client_body_buffer_size 1m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        location {location} {{
            proxy_pass {upstream};
            proxy_buffering off;
            {headers}
        }}
    }}
}}
"""


@contextmanager
def nginx(folder: Path, port: int, upstream: str, location: str, **headers: str) -> Iterator[None]:
    """nginx on a port of this machine, with a certificate that nobody trusts.

    Args:
        upstream: what it sends requests to. With a path, that replaces `location` in the path of a request.
        location: the path whose requests it sends there. All others get 404.
        headers: what it sets in these requests; `_` in their names becomes `-`.
    """
    program = require_program("nginx")
    _make_certificate(folder)
    lines = [f"proxy_set_header {name.replace('_', '-')} {value};" for name, value in headers.items()]
    values = {"folder": folder, "port": port, "upstream": upstream, "location": location}
    (folder / "nginx.conf").write_text(_CONFIGURATION.format(headers="\n".join(lines), **values), "utf-8")
    with subprocess.Popen([program, "-e", "stderr", "-c", str(folder / "nginx.conf")]) as process:
        try:
            _wait_for(port)
            yield
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _make_certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True)
