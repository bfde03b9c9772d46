"""The service against other ways to serve the same model: the demo checkpoint, the same images, the same machine.

    python -m benchmarks.peers [--clients 1 8 32] [--requests 96] [--rounds 3] [--only NAME ...] [--save NAME]

The peers run `generate` of transformers and the same stages around it: LitServe in batches of 16, with one and with
two workers; plain Celery with two processes behind a front end; and a synchronous FastAPI app. All servers take
turns, so that other load on the machine affects all of them. LitServe and the front ends of the other peers are
stopped while they do not have theirs. A client sends a request, waits for its masks, and sends the next. No image is
sent twice. LitServe needs an environment of its own:

    python3 -m venv litserve && litserve/bin/pip install litserve
    LITSERVE_PYTHON=$PWD/litserve/bin/python python -m benchmarks.peers
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

from benchmarks.peers.servers import Server, litserve, maskq, plain_celery, sync_app
from benchmarks.report import report
from evaluation.datasets.scenes import scene_examples

NAMES = ("maskq_1", "maskq_2", "litserve_1", "litserve_2", "celery_2", "sync")
_IMAGES = 200
_WARM_UP = 4
_TIMEOUT_S = 300


@dataclass(frozen=True)
class Timed:
    """What one round of requests took."""

    images_per_s: float
    seconds: list[float]
    """From sending each request to its answer."""


def server(name: str, folder: Path) -> AbstractContextManager[Server]:
    """One of `NAMES`. The number at the end is that of its workers."""
    kind, _, workers = name.partition("_")
    if kind == "maskq":
        return maskq(folder, int(workers))
    if kind == "litserve":
        return litserve(folder, int(workers), os.environ["LITSERVE_PYTHON"])
    return plain_celery(folder, int(workers)) if kind == "celery" else sync_app(folder)


class Clients:
    """Clients that send scenes, none of them twice."""

    def __init__(self) -> None:
        self._examples = [(each.prompt, each.read_image()) for each in scene_examples(_IMAGES, 7_000)]
        self._numbers: Iterator[int] = count()

    async def round(self, server: Server, clients: int, requests: int) -> Timed:
        """So many clients at once send so many requests together."""
        seconds: list[float] = []
        left = iter(range(requests))
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=server.url, timeout=_TIMEOUT_S, limits=limits) as client:

            async def send() -> None:
                for _ in left:
                    begin = time.perf_counter()
                    await self._answer(client, server.path)
                    seconds.append(time.perf_counter() - begin)

            begin = time.perf_counter()
            await asyncio.gather(*(send() for _ in range(clients)))
            return Timed(requests / (time.perf_counter() - begin), seconds)

    async def _answer(self, client: httpx2.AsyncClient, path: str) -> None:
        number = next(self._numbers)
        prompt, image = self._examples[number % _IMAGES]
        # Bytes after the end of a PNG are ignored, but make it another image.
        files = {"image_file": ("scene.png", image + str(number).encode())}
        response = await client.post(path, data={"prompt": prompt}, files=files, headers={"Prefer": "wait=30"})
        answer: Any = response.raise_for_status().json()
        while isinstance(answer, dict) and answer["status"] in ("queued", "processing"):
            answer = (await client.get(answer["urls"]["self"], params={"wait": 30})).json()
        if isinstance(answer, dict) and answer["status"] != "succeeded":
            raise RuntimeError(f"a job ended as {answer['status']}")


def measure(names: Sequence[str], clients: Sequence[int], requests: int, rounds: int) -> dict[str, Any]:
    """Rates and times of each server by the number of clients, and the ratios of ours to the best of each peer."""
    found: dict[tuple[int, str], list[Timed]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        servers = {name: stack.enter_context(server(name, Path(folder) / name)) for name in names}
        sender = Clients()
        for each in servers.values():
            with each.awake():
                asyncio.run(sender.round(each, _WARM_UP, 4 * _WARM_UP))
        for number in range(rounds):
            for name in names if number % 2 else reversed(names):
                with servers[name].awake():
                    for many in clients:
                        at_least = max(8, requests // 4) if many == 1 else requests
                        found[many, name].append(asyncio.run(sender.round(servers[name], many, at_least)))
    return {f"{many}_clients": _figures({name: found[many, name] for name in names}) for many in clients}


def _figures(timed: Mapping[str, Sequence[Timed]]) -> dict[str, Any]:
    """Medians of the rounds, and p95 of all requests."""
    rates = {name: statistics.median(each.images_per_s for each in rounds) for name, rounds in timed.items()}
    p95 = {name: _p95([s for each in rounds for s in each.seconds]) for name, rounds in timed.items()}
    mine = [rate for name, rate in rates.items() if name.startswith("maskq")]
    peers = {name: rate for name, rate in rates.items() if mine and not name.startswith("maskq")}
    return {
        "images_per_s": rates,
        "p95_ms": {name: 1e3 * each for name, each in p95.items()},
        "best_maskq_over": {name: max(mine) / rate for name, rate in peers.items()},
    }


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def main() -> None:
    """Measure, and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--requests", type=int, default=96, help="in one round; a quarter of them with one client")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--save", help="keep the results in benchmarks/results/NAME.json")
    options = parser.parse_args()
    if any(name.startswith("litserve") for name in options.only) and "LITSERVE_PYTHON" not in os.environ:
        sys.exit("LITSERVE_PYTHON is not set. It names a Python with litserve; or leave LitServe out with --only")
    results = measure(options.only, options.clients, options.requests, options.rounds)
    report("benchmarks.peers", results, options.save)


if __name__ == "__main__":
    main()
