"""What attacks by one client cost a service with the limits of docker-compose.yml, and an honest client beside it.

    python -m benchmarks.hostile [--attacks NAME ...] [--seconds 20] [--no-keys] [--save hostile]

For each attack a new service is started: broker, front end, deliverer, and two workers with a script instead of a model
(a job takes 50 ms). The attacker has a process of its own and a key with the default limits, or none. The honest client
has another key. Printed are, per attack: the most memory of the front end with its child processes, and how long the
honest client waited. Without an attack, `calm`, the same is measured for comparison.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.hostile.attacks import ATTACKS, WITHOUT_KEY
from benchmarks.hostile.neighbour import Neighbour
from benchmarks.report import report
from shared.domain.api_key import Scope
from shared.settings import Settings
from shared.store.api_keys import ApiKeyStore
from testing.fleet import Fleet

_CALM = "calm"
_LIMITS = {"MASKQ_UPLOAD_MEMORY_BYTES": "300000000", "MASKQ_DECODE_PROCESSES": "2"}
"""Those of docker-compose.yml."""
_LOW_LIMITS = {"MASKQ_MAX_QUEUED_JOBS": "200", "MASKQ_MAX_WAITERS": "500"}
"""Lower than the defaults, so that one client reaches them within seconds."""
_NETWORK = {"MASKQ_URL_ALLOW_HTTP": "true", "MASKQ_URL_ALLOW_PRIVATE": "true"}
"""The attacker's website and receivers are on this machine."""
_SCRIPT = {"SCRIPTED_MS": "50", "MASKQ_WORKER_THREADS": "1", "MASKQ_MAX_BATCH": "1"}
_ENVIRONMENT: dict[str, Any] = {**_LIMITS, **_LOW_LIMITS, **_NETWORK, **_SCRIPT}
_MEMORY_LIMIT_MB = 2_000
"""API_MEMORY in docker-compose.yml."""
_SAMPLE_S = 0.05
_BEGIN_S = 2.0
"""The attack begins so much earlier than the honest client."""


def main() -> int:
    """Measure, and print the results as JSON. Returns 1 if an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [_CALM, *ATTACKS]
    parser.add_argument("--attacks", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the honest client, per attack")
    parser.add_argument("--no-keys", action="store_true", help="API keys are off, as on one's own machine")
    parser.add_argument("--save", help="save the results in benchmarks/results/NAME.json")
    options = parser.parse_args()
    results = {}
    for name in options.attacks:
        with tempfile.TemporaryDirectory(prefix="maskq-hostile-") as folder:
            results[name] = _attacked(name, Path(folder), options.seconds, has_keys=not options.no_keys)
        print(name, results[name], file=sys.stderr, flush=True)
    worst_s = 3.0 if options.no_keys else 1.0
    missed = [name for name, each in results.items() if _misses(each, worst_s)]
    report("benchmarks.hostile", {**results, "aims_missed": ", ".join(missed) or "none"}, options.save)
    return 1 if missed else 0


def _misses(result: dict[str, Any], worst_s: float) -> bool:
    """Whether memory or waits are above the aims, or an honest request failed."""
    is_slow = result["neighbour"]["p99_s"] > worst_s
    return is_slow or result["front_end_peak_mb"] > _MEMORY_LIMIT_MB or bool(result["neighbour"]["errors"])


def _attacked(name: str, folder: Path, seconds: float, *, has_keys: bool) -> dict[str, Any]:
    """Run one attack. Returns what it cost."""
    with Fleet(folder, workers=2, MASKQ_REQUIRE_KEYS=str(has_keys).lower(), **_ENVIRONMENT) as fleet:
        attacker, neighbour = asyncio.run(_keys(fleet)) if has_keys else ("", "")
        honest = Neighbour(fleet.url, neighbour)
        with _PeakMemory(fleet.api.process) as memory, _attack(name, fleet.port, attacker):
            time.sleep(_BEGIN_S)
            honest.work(seconds)
        return {"front_end_peak_mb": memory.peak_mb, "neighbour": honest.waits.stats(), "exits": fleet.exit_statuses}


async def _keys(fleet: Fleet) -> tuple[str, str]:
    """A key with the default limits for the attacker, and one for the honest client."""
    store = ApiKeyStore.connect(Settings.of(redis_url=fleet.broker_url).redis)
    scopes = frozenset({Scope.SUBMIT, Scope.READ})
    try:
        _, attacker = await store.create("attacker", scopes, 600, 100, 1)
        _, neighbour = await store.create("honest", scopes, 6_000, 1_000, 1)
    finally:
        await store.close()
    return attacker, neighbour


@contextmanager
def _attack(name: str, port: int, key: str) -> Iterator[None]:
    """The attack goes on during the block."""
    if name == _CALM:
        yield
        return
    secret = [] if name in WITHOUT_KEY else [key]
    with subprocess.Popen([sys.executable, "-m", "benchmarks.hostile.attacker", name, str(port), *secret]) as process:
        try:
            yield
        finally:
            process.kill()


class _PeakMemory:
    """The most memory of a process and its children during a block, in MB."""

    def __init__(self, process: subprocess.Popen[bytes] | None) -> None:
        assert process is not None
        self._process = psutil.Process(process.pid)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.peak_mb = 0.0

    def __enter__(self) -> _PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._stopping.wait(_SAMPLE_S):
            self.peak_mb = max(self.peak_mb, self._memory_mb())

    def _memory_mb(self) -> float:
        try:
            every = [self._process, *self._process.children(recursive=True)]
            return sum(each.memory_info().rss for each in every) / 1e6
        except psutil.NoSuchProcess:
            return 0.0


if __name__ == "__main__":
    sys.exit(main())
