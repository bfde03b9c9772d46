"""HTTP/1.1 by hand, for benchmarks in which a real client would take more time than the server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Self

_BOUNDARY = "maskq-benchmark"


def get_request(path: str) -> bytes:
    """The bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def form_request(path: str, fields: Mapping[str, str], file_field: str, file: bytes) -> bytes:
    """The bytes of a POST with a multipart form that has one file."""
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{file_field}"; filename="a"\r\n\r\n'.encode()
    body = b"".join(parts) + head + file + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


class Connection:
    """One connection. Requests are sent one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Self]:
        """Connect to a server on this machine."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def request(self, request: bytes) -> bytes:
        """Send a request. Returns the body of the response.

        Raises:
            RuntimeError: the response is not 2xx.
        """
        await self.send(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(body.decode("utf-8", "replace"))
        return body

    async def send(self, request: bytes) -> None:
        """Send a request without waiting for the response."""
        self._writer.write(request)
        await self._writer.drain()

    async def until(self, mark: bytes) -> None:
        """Read until these bytes have arrived.

        Raises:
            EOFError: the server closed the connection before that.
        """
        seen = b""
        while mark not in seen:
            chunk = await self._reader.read(65_536)
            if not chunk:
                raise EOFError
            seen = seen[-len(mark) :] + chunk
