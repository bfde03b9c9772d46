"""The attacks. Each runs until it is canceled, and repeats what one client can repeat."""

from __future__ import annotations

import asyncio
import itertools
import json

from benchmarks.hostile import pictures
from benchmarks.hostile.target import Attack, Target, at_once, many

_FOR_EVER_S = 3_600.0
_LARGE_FILE = "/assets/swagger-ui-5.35.0/swagger-ui-bundle.js"


async def overlays(target: Target) -> None:
    """60 overlays of one image of 19.9 MB at a time."""
    job_id = await target.submit_and_wait(pictures.large_photo())
    await many(60, lambda: target.ask(target.get(f"/jobs/{job_id}/overlay.png")))


async def abandoned_overlays(target: Target) -> None:
    """16 overlays of an image that is costly to decode, each abandoned after 0.2 s."""
    job_id = await target.submit_and_wait(pictures.costly_to_decode())

    async def abandon() -> None:
        async with target.connected() as (_, writer):
            writer.write(target.get(f"/jobs/{job_id}/overlay.png"))
            await asyncio.sleep(0.2)

    await many(16, abandon)


async def fetches(target: Target) -> None:
    """60 submissions of 450 bytes at a time, whose images of 19 MB are behind a URL."""
    request = target.post_json({"prompt": "cat", "image_url": f"http://127.0.0.1:{target.website_port}/large"})
    await many(60, lambda: target.ask(request))


async def silent_websites(target: Target) -> None:
    """60 submissions at a time whose URL never answers."""
    request = target.post_json({"prompt": "cat", "image_url": f"http://127.0.0.1:{target.website_port}/silent"})
    await many(60, lambda: target.ask(request))


async def pipelined_header(target: Target) -> None:
    """45 requests whose answers nobody reads, then one header of 60 MB, on each of 4 connections."""

    async def one() -> None:
        async with target.connected() as (_, writer):
            writer.write(target.get("/docs") * 45 + b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Large: ")
            for _ in range(60):
                writer.write(b"a" * 1_000_000)
                await writer.drain()

    await many(4, one)


async def header_behind_stream(target: Target) -> None:
    """An event stream, and behind it on the same connection a header of 200 MB."""
    job_id = await target.submit(pictures.tiny(), prompt="slow", timeout="60")

    async def one() -> None:
        async with target.connected() as (_, writer):
            writer.write(target.get(f"/jobs/{job_id}/events") + b"GET / HTTP/1.1\r\nX-Large: ")
            for _ in range(200):
                writer.write(b"a" * 1_000_000)
                await writer.drain()

    await many(2, one)


async def clients_that_never_read(target: Target) -> None:
    """250 connections that each ask 3 times for a file of 1.6 MB, and never read an answer."""

    async def one() -> None:
        async with target.connected() as (_, writer):
            writer.write(target.get(_LARGE_FILE) * 3)
            await asyncio.sleep(_FOR_EVER_S)

    await many(250, one)


async def idle_connections(target: Target) -> None:
    """2,000 connections that send the first byte of a request every 5 s."""

    async def one() -> None:
        async with target.connected() as (reader, writer):
            writer.write(b"G")
            await reader.read(65_536)

    await many(2_000, one)


async def image_headers(target: Target) -> None:
    """Small images whose headers are costly to read, four at a time."""
    files = itertools.cycle([pictures.color_profiles(), pictures.frame_headers(), pictures.exif_entries()])
    await many(4, lambda: target.ask(target.post_image(next(files))))


async def json_values(target: Target) -> None:
    """JSON of 26 MB with millions of small values, two at a time."""
    body = b'{"prompt": "cat", "values": [' + b"0," * 13_000_000 + b"0]}"
    request = target.post("/segment/", "application/json", body)
    await many(2, lambda: target.ask(request))


async def unfinished_uploads(target: Target) -> None:
    """40 uploads of 19.9 MB that stop before their last byte."""
    request = target.post_image(pictures.large_photo())[:-1]

    async def one() -> None:
        async with target.connected() as (reader, writer):
            writer.write(request)
            await writer.drain()
            await reader.read(65_536)

    await many(40, one)


async def full_queue(target: Target) -> None:
    """Slow jobs, as many as the queue takes."""
    await many(32, lambda: target.submit(prompt="slow"))


async def canceled_images(target: Target) -> None:
    """Jobs with images of 19.9 MB that are canceled at once."""
    image = pictures.large_photo()

    async def one() -> None:
        job_id = await target.submit(image)
        await target.ask(target.post(f"/jobs/{job_id}/cancel", "text/plain", b""))

    await many(4, one)


async def waiting_clients(target: Target) -> None:
    """Event streams and long polls for a job that does not end, as many as the service takes."""
    job_id = await target.submit(prompt="slow", timeout="3600")
    paths = itertools.cycle([f"/jobs/{job_id}/events", f"/jobs/{job_id}?wait=60"])

    async def one() -> None:
        async with target.connected() as (reader, writer):
            writer.write(target.get(next(paths)))
            while await reader.read(65_536):
                pass
        await asyncio.sleep(1.0)

    await many(1_000, one)


async def webhooks_to_silent_receivers(target: Target) -> None:
    """1,000 jobs whose webhooks go to 40 hosts that never answer."""
    urls = itertools.cycle(f"http://127.0.0.{host}:{target.website_port}/silent" for host in range(2, 42))

    async def submit_some() -> None:
        for _ in range(25):
            await target.submit(webhook_url=next(urls))

    await at_once(submit_some() for _ in range(40))
    await asyncio.sleep(_FOR_EVER_S)


async def long_lists(target: Target) -> None:
    """Lists of jobs, 32 at a time, among 500 jobs that have ended."""
    for _ in range(20):
        await at_once(target.submit() for _ in range(25))
    await many(32, lambda: target.ask(target.get("/jobs?limit=100")))


async def refused_submissions(target: Target) -> None:
    """Submissions that are refused for their fields, as fast as possible: each costs a parse and an error."""
    body = json.dumps({"prompt": "", "image_base64": "A" * 1_000_000}).encode()
    request = target.post("/segment/", "application/json", body)
    await many(16, lambda: target.ask(request))


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        overlays,
        abandoned_overlays,
        fetches,
        silent_websites,
        pipelined_header,
        header_behind_stream,
        clients_that_never_read,
        idle_connections,
        image_headers,
        json_values,
        unfinished_uploads,
        full_queue,
        canceled_images,
        waiting_clients,
        webhooks_to_silent_receivers,
        long_lists,
        refused_submissions,
    )
}
"""By name."""
WITHOUT_KEY = frozenset({"pipelined_header", "clients_that_never_read", "idle_connections"})
"""The attacks that need no key."""
