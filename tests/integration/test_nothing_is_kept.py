"""Requests of all kinds that end in all ways leave nothing counted: what is bounded stays usable for ever."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler

import pytest

from api.server import FrontEndServer
from api.shares import Shares
from shared.fair_threads import FairThreads
from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.pictures import encoded, gradient
from testing.servers import front_end_server, website
from tests.jobs import finish_next

_REQUESTS = 1_000
_AT_ONCE = 24
_SEED = 1
_PATIENCE_S = 30.0
_PHOTO = encoded(gradient(64, 48))
_PADDED = _PHOTO + bytes(200_000)
_FORM = "multipart/form-data; boundary=x"


class _Images(BaseHTTPRequestHandler):
    """Serves an image, at once or after a moment, whole or cut, declared or not."""

    def do_GET(self) -> None:
        self.send_response(404 if "missing" in self.path else 200)
        if "declared" in self.path:
            self.send_header("Content-Length", str(len(_PHOTO)))
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(_PHOTO[: len(_PHOTO) // 2])
            if "slow" in self.path:
                time.sleep(0.05)
            if "cut" not in self.path:
                self.wfile.write(_PHOTO[len(_PHOTO) // 2 :])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(settings: Settings) -> Iterator[FrontEndServer]:
    small = settings.replace(
        url_allow_http=True,
        url_allow_private=True,
        upload_memory_bytes=3_000_000,
        max_image_bytes=300_000,
        max_waiters=8,
        max_fetches=4,
        max_connections=20,
        max_queued_jobs=200,
    )
    with front_end_server(small) as server:
        yield server


def _body(rng: random.Random, images: str) -> tuple[str, bytes]:
    """A media type and a body: a submission, right or wrong."""
    kind = rng.choice(["file", "padded", "url", "url", "json", "json url", "encoded", "wrong", "nonsense"])
    url = images + rng.choice(["/", "/declared", "/slow", "/cut", "/declared/cut", "/missing"])
    text = b64encode(_PHOTO).decode()
    if kind == "json":
        return "application/json", f'{{"prompt": "cat", "image_base64": "{text}"}}'.encode()
    if kind == "json url":
        return "application/json", f'{{"prompt": "cat", "image_url": "{url}"}}'.encode()
    if kind == "encoded":
        return "application/x-www-form-urlencoded", f"prompt=cat&image_url={url}".encode()
    if kind == "nonsense":
        return rng.choice([_FORM, "application/json", "text/plain"]), rng.randbytes(rng.randrange(150_000))
    file = {"file": _PHOTO, "padded": _PADDED, "wrong": b"no image"}.get(kind, b"")
    part = b'image_file"; filename="a"\r\n\r\n' + file if file else b'image_url"\r\n\r\n' + url.encode()
    head = b'--x\r\nContent-Disposition: form-data; name="'
    return _FORM, head + b'prompt"\r\n\r\ncat\r\n' + head + part + b"\r\n--x--\r\n"


def _submission(rng: random.Random, images: str) -> bytes:
    kind, body = _body(rng, images)
    lines = ["POST /segment/ HTTP/1.1", "Host: localhost", f"Content-Type: {kind}"]
    lines += rng.choice([[], [], ["Prefer: wait=1"], [f"Idempotency-Key: {rng.randrange(9)}"]])
    if rng.random() < 0.3:
        body = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (body[:99], body[99:]) if each) + b"0\r\n\r\n"
        lines.append("Transfer-Encoding: chunked")
    else:
        lines.append(f"Content-Length: {len(body) + rng.choice([0, 0, 0, 500])}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def _question(rng: random.Random, jobs: list[str]) -> bytes:
    job_id = rng.choice(jobs) if jobs else "0197a2b4-5c6d-7e8f-9a0b-1c2d3e4f5a6b"
    after = ["", "?wait=1", "/events", "/overlay.png", "/masks/0.png", "/result", "/result?format=coco-polygon"]
    method, path = rng.choice(
        [*(("GET", each) for each in after), ("HEAD", "/result"), ("DELETE", ""), ("POST", "/cancel"), ("GET", "?x=1")]
    )
    return f"{method} /jobs/{job_id}{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def _exchange(port: int, request: bytes, rng: random.Random, jobs: list[str]) -> None:
    """Send a request, whole or not, and hang up before, during or after its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        end = rng.choice([len(request), len(request), len(request), rng.randrange(len(request))])
        writer.write(request[:end])
        await asyncio.sleep(rng.choice([0, 0, 0.01, 0.05]))
        writer.write(request[end:] if rng.random() < 0.5 else b"")
        async with asyncio.timeout(rng.choice([0.005, 0.05, 0.3, 2])):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            if "location: /jobs/" in head:
                jobs.append(head.partition("location: /jobs/")[2][:36])
            await reader.read(rng.choice([1, 100_000]))
    finally:
        writer.transport.abort()


async def _attack(port: int, images: str) -> int:
    """Number of jobs that were accepted."""
    rng, jobs = random.Random(_SEED), list[str]()

    async def client() -> None:
        for _ in range(_REQUESTS // _AT_ONCE):
            request = _submission(rng, images) if rng.random() < 0.5 else _question(rng, jobs[-20:])
            with suppress(TimeoutError, OSError, EOFError, asyncio.IncompleteReadError):
                await _exchange(port, request, rng, jobs)

    await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
    return len(jobs)


def _kept() -> list[str]:
    """What is still counted anywhere in this process."""
    gc.collect()  # those of other tests
    objects = gc.get_objects()  # isinstance would warn: it reads an attribute, and some of torch's are deprecated
    shares: list[Shares] = [each for each in objects if type(each) is Shares]
    threads: list[FairThreads] = [each for each in objects if type(each) is FairThreads]
    kept = [f"{each._what}: {each.in_use}, {dict(each._used)}" for each in shares if each.in_use or each._used]
    return kept + [str(each._running) for each in threads if each._running or each._waiting]


def _work(leases: LeaseStore, is_over: Callable[[], bool]) -> None:
    while not is_over():
        with suppress(AssertionError):  # no job waits
            finish_next(leases)
        time.sleep(0.005)


@pytest.mark.slow
def test_requests_that_end_in_any_way_leave_nothing_counted(server: FrontEndServer, leases: LeaseStore) -> None:
    async def main(images: str) -> int:
        over = asyncio.Event()
        working: Awaitable[None] = asyncio.create_task(asyncio.to_thread(_work, leases, over.is_set))
        try:
            return await _attack(server.config.port, images)
        finally:
            over.set()
            await working

    with website(_Images) as images:
        assert asyncio.run(main(images)) > 20  # with answers that were read
    deadline = time.monotonic() + _PATIENCE_S
    while kept := _kept():
        assert time.monotonic() < deadline, kept
        time.sleep(0.05)
