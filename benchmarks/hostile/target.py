"""What an attack is aimed at, and the HTTP it is written in: raw bytes, since clients of libraries are too polite."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from testing.pictures import small_png
from testing.raw_http import form_request

_MAX_ANSWER_BYTES = 50_000_000
_GONE = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError)
"""What a client meets whose connection is refused, closed or answered with something else."""


@dataclass(frozen=True)
class Target:
    """The service, and the key with which it is attacked."""

    port: int
    key: str
    """Empty: the attack is without a key."""
    website_port: int = 0
    """Where a website of the attacker serves images and does not answer."""

    @property
    def _authorization(self) -> bytes:
        return f"Authorization: Bearer {self.key}\r\n".encode() if self.key else b""

    def get(self, path: str) -> bytes:
        """The bytes of a GET."""
        return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + self._authorization + b"\r\n"

    def post(self, path: str, content_type: str, body: bytes) -> bytes:
        """The bytes of a POST."""
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n".encode()
        return head + self._authorization + f"Content-Length: {len(body)}\r\n\r\n".encode() + body

    def post_json(self, fields: dict[str, Any]) -> bytes:
        """The bytes of a submission as JSON."""
        return self.post("/segment/", "application/json", json.dumps(fields).encode())

    def post_image(self, image: bytes, prompt: str = "cat", **fields: str) -> bytes:
        """The bytes of a submission as a form."""
        head, _, body = form_request("/segment/", {"prompt": prompt, **fields}, "image_file", image).partition(
            b"\r\n\r\n"
        )
        lines = head.replace(b"Host: benchmark", b"Host: 127.0.0.1")
        return lines + b"\r\n" + self._authorization + b"\r\n" + body

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection of its own."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=65_536)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request on a connection of its own, and read the whole answer: its status and body. Status 0: the
        connection was refused or closed."""
        with suppress(*_GONE):
            async with self.connected() as (reader, writer):
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                return int(head.split()[1]), await reader.readexactly(min(length, _MAX_ANSWER_BYTES))
        return 0, b""

    async def submit(self, image: bytes | None = None, prompt: str = "cat", **fields: str) -> str:
        """Submit a job. Returns its id, or an empty text if it was not accepted."""
        status, body = await self.ask(self.post_image(image or small_png(), prompt, **fields))
        return str(json.loads(body)["id"]) if status in (200, 202) else ""

    async def submit_and_wait(self, image: bytes) -> str:
        """Submit a job and wait until it has ended. Returns its id."""
        job_id = await self.submit(image)
        await self.ask(self.get(f"/jobs/{job_id}?wait=30"))
        return job_id


Attack = Callable[[Target], Awaitable[None]]
"""Attacks until it is canceled."""


async def many(count: int, attack: Callable[[], Awaitable[Any]]) -> None:
    """Repeat `attack` for ever, with `count` at once."""

    async def one() -> None:
        while True:
            with suppress(*_GONE):
                await attack()
            await asyncio.sleep(0.01)

    await asyncio.gather(*(one() for _ in range(count)))


async def at_once(attacks: Iterable[Awaitable[Any]]) -> None:
    """Run attacks at the same time, each once."""
    await asyncio.gather(*attacks, return_exceptions=True)
