"""The process of an attacker, and its website.

    python -m benchmarks.hostile.attacker NAME PORT [KEY]

It runs with low priority: a real attacker uses the processors of another machine.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from contextlib import suppress

from benchmarks.hostile.attacks import ATTACKS
from benchmarks.hostile.pictures import large_photo
from benchmarks.hostile.target import Target


def main() -> None:
    """Attack until this process is ended."""
    name, port, *rest = sys.argv[1:]
    os.nice(10)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_attack(name, int(port), rest[0] if rest else ""))


async def _attack(name: str, port: int, key: str) -> None:
    photo = large_photo()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n")).split()[1]
        if path == b"/large":
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(photo) + photo)
            with suppress(OSError):  # the service may close the connection
                await writer.drain()
        await asyncio.sleep(3_600)

    website = await asyncio.start_server(serve, "0.0.0.0", 0, backlog=4_096)
    await ATTACKS[name](Target(port, key, website.sockets[0].getsockname()[1]))


if __name__ == "__main__":
    main()
