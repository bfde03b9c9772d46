"""Is anything that was accepted ever lost? The whole service under kills, freezes, lost messages and impatient clients.

    python -m benchmarks.chaos [--jobs 2000] [--seconds 150] [--workers 3] [--demo] [--save NAME]

A real front end, real Celery workers and a real broker, on short leases. The model is a script, or the demo checkpoint.
The oracle is the clients' own list of what was accepted: each job must end once and with the right mask; canceled only
if its client asked for that or its timeout was over; failed only if it kills workers, and then as `worker_lost`. How
often each ended is counted in the server's own log of writes. Exit status 1 if anything was lost, wrong or double.
"""

from __future__ import annotations

import argparse
import io
import random
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
from PIL import Image
from redis.exceptions import RedisError

from benchmarks.audit import audit
from benchmarks.fleet import DEMO_WORKER, SCRIPTED_WORKER, SHORT_LEASES, Fleet, Member
from benchmarks.held_out import ask as ask_in_peace
from benchmarks.held_out import questions
from benchmarks.report import report
from benchmarks.scripted_worker import POISON, scripted_answer
from shared.queue import queue_name
from shared.result import SegmentationResult

_ENDED = ("succeeded", "failed", "canceled")
_RETRY_S = 0.2
_FREEZE_S = float(SHORT_LEASES["LEASE_S"]) + 1.5
"""Past the lease, so that somebody else has the job when its first holder wakes."""
_CLIENTS = 12


@dataclass(frozen=True)
class Plan:
    """How much chaos."""

    jobs: int = 2_000
    seconds: float = 150.0
    """Over which they are submitted."""
    workers: int = 3
    demo: bool = False
    fault_every_s: float = 1.5
    poison: int = 3
    """Jobs that kill whatever runs them."""
    drain_s: float = 120.0
    """How long the last jobs may take once the faults have ended."""
    seed: int = 0


@dataclass
class Ask:
    """What one client wants, and what it was told."""

    prompt: str
    image: bytes
    expected: SegmentationResult | None
    """None: it kills workers."""
    timeout_s: float | None
    is_cancel_wanted: bool
    is_repeated: bool
    """Its client sends it once more although it was accepted."""
    webhook_url: str = ""
    """Empty: none."""
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    ids: set[str] = field(default_factory=set)
    submits: int = 0
    is_cancel_sent: bool = False
    is_cancel_granted: bool = False

    @property
    def job_id(self) -> str:
        (job_id, *_) = self.ids
        return job_id


class Clients:
    """They submit at an even pace, never give up, and now and then change their minds."""

    def __init__(self, url: str, asks: Sequence[Ask], seconds: float) -> None:
        self._url = url
        self._asks = asks
        self._pace_s = seconds / len(asks)
        self.refusals: Counter[str] = Counter()
        """What was answered instead of 202, by status, and connections that broke."""

    def run(self) -> None:
        """Return when every job was accepted."""
        begin = time.monotonic()
        with ThreadPoolExecutor(_CLIENTS) as pool, httpx2.Client(base_url=self._url, timeout=10) as client:

            def play(number: int) -> None:
                time.sleep(max(0.0, begin + number * self._pace_s - time.monotonic()))
                self._play(client, self._asks[number])

            list(pool.map(play, range(len(self._asks))))

    def _play(self, client: httpx2.Client, ask: Ask) -> None:
        self._submit(client, ask)
        if ask.is_repeated:
            self._submit(client, ask)
        if ask.is_cancel_wanted:
            self._cancel(client, ask)

    def _submit(self, client: httpx2.Client, ask: Ask) -> None:
        data = {"prompt": ask.prompt, "webhook_url": ask.webhook_url}
        if ask.timeout_s:
            data["timeout"] = str(ask.timeout_s)
        headers, files = {"Idempotency-Key": ask.key}, {"image_file": ("a.png", ask.image)}
        while True:
            ask.submits += 1
            response = self._post(client, "/segment/", headers=headers, data=data, files=files)
            if response is not None and response.status_code == 202:
                ask.ids.add(response.json()["id"])
                return
            time.sleep(_RETRY_S)

    def _cancel(self, client: httpx2.Client, ask: Ask) -> None:
        ask.is_cancel_sent = True
        response = self._post(client, f"/jobs/{ask.job_id}/cancel")
        ask.is_cancel_granted = response is not None and response.status_code == 202

    def _post(self, client: httpx2.Client, path: str, **content: Any) -> httpx2.Response | None:
        """The answer, or None if the connection broke and nobody knows what happened."""
        try:
            response = client.post(path, **content)
        except httpx2.HTTPError:
            self.refusals["broken connection"] += 1
            return None
        if response.status_code != 202:
            self.refusals[str(response.status_code)] += 1
        return response


class Faults:
    """Does something cruel every so often, each kind equally often."""

    def __init__(self, fleet: Fleet, every_s: float, random: random.Random) -> None:
        self._fleet = fleet
        self._every_s = every_s
        self._random = random
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults")
        self.injected: Counter[str] = Counter()
        self._kinds: dict[str, Callable[[], None]] = {
            "worker killed": lambda: fleet.kill(self._worker()),
            "worker frozen past its lease": self._freeze,
            "doorbells dropped": self._drop_doorbells,
            "front end killed": lambda: fleet.kill(fleet.api, random.uniform(0, 0.5)),
            "broker killed": lambda: fleet.kill(fleet.broker, random.uniform(0, 1)),
        }

    def __enter__(self) -> Faults:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stopped.set()
        self._thread.join()
        for member in self._fleet.workers:
            member.send(signal.SIGCONT)

    def _run(self) -> None:
        for kind in self._endless_kinds():
            if self._stopped.wait(self._every_s * self._random.uniform(0.5, 1.5)):
                return
            self._kinds[kind]()
            self.injected[kind] += 1

    def _endless_kinds(self) -> Iterator[str]:
        while True:
            yield from self._random.sample(list(self._kinds), len(self._kinds))

    def _worker(self) -> Member:
        return self._random.choice(self._fleet.workers)

    def _freeze(self) -> None:
        frozen = self._worker().process
        if frozen is not None:
            frozen.send_signal(signal.SIGSTOP)
            thaw = threading.Timer(_FREEZE_S, frozen.send_signal, [signal.SIGCONT])
            thaw.daemon = True
            thaw.start()

    def _drop_doorbells(self) -> None:
        try:
            with self._fleet.redis() as redis:
                redis.delete(queue_name("demo"))
        except RedisError:
            return  # it is away, and all bells with it


def judge(ask: Ask, job: dict[str, Any]) -> str | None:
    """What is wrong with how a job ended, or None."""
    status = job["status"]
    if ask.is_cancel_granted and status != "canceled":
        return f"{status} after its cancel was granted"
    if status == "canceled":
        return None if ask.is_cancel_sent or _is_past_its_deadline(job) else "canceled, and nobody wanted that"
    if status == "failed":
        kind = job["error"]["type"]
        return None if ask.expected is None and kind == "worker_lost" else f"failed as {kind}"
    is_right = ask.expected == SegmentationResult.model_validate(job["result"])
    return None if is_right else "another result than the right one"


def _is_past_its_deadline(job: dict[str, Any]) -> bool:
    deadline, completed = job["deadline_at"], job["completed_at"]
    return deadline is not None and datetime.fromisoformat(completed) >= datetime.fromisoformat(deadline)


def run(plan: Plan, folder: Path) -> dict[str, Any]:
    """Bring up the service in `folder`, let chaos loose on it, and count what became of every accepted job."""
    chance = random.Random(plan.seed)
    begin = time.monotonic()
    worker = DEMO_WORKER if plan.demo else SCRIPTED_WORKER
    # One job a pass: with others beside it, rounding may change the demo's answer, and right would be hard to tell.
    env = {"MAX_BATCH": "1"} if plan.demo else {"SCRIPTED_MS": "150"}
    with Fleet(
        folder, worker, plan.workers, deliverers=0, WORKER_THREADS="4", MAX_QUEUED_JOBS="100000", **env
    ) as fleet:
        asks = demo_asks(plan, chance, fleet.url) if plan.demo else scripted_asks(plan, chance)
        clients = Clients(fleet.url, asks, plan.seconds)
        with Faults(fleet, plan.fault_every_s, chance) as faults:
            clients.run()
        fleet.wait_until_ready()
        ended = _wait_for_ends(fleet, asks, plan.drain_s)
        time.sleep(_FREEZE_S)  # whoever is late comes now
        again = _read_all(fleet.url, asks)
        refused = fleet.worker_logs().count("refused, it is not ours")
        deaths = {name: len(each) for name, each in fleet.deaths.items()}
    written = audit(folder / "broker")
    verdicts = [_verdict(ask, ended.get(ask.key), again.get(ask.key)) for ask in asks]
    statuses = Counter(job["status"] for job in again.values())
    return {
        "accepted": len(asks),
        **{status: statuses[status] for status in _ENDED},
        "lost": verdicts.count("lost"),
        "wrong": sum(verdict not in (None, "lost") for verdict in verdicts),
        "wrong_how": dict(Counter(verdict for verdict in verdicts if verdict not in (None, "lost"))),
        "double_commits": written.double_commits,
        "stale_commits_refused": refused,
        "submits_repeated": sum(ask.submits - 1 for ask in asks),
        "duplicates": written.duplicates + sum(len(ask.ids) - 1 for ask in asks),
        "jobs_in_the_log_of_writes": len(written.accepted),
        "faults": dict(faults.injected),
        "faults_total": faults.injected.total(),
        "processes_started_again": deaths,
        "refusals": dict(clients.refusals),
        "seconds": time.monotonic() - begin,
    }


def scripted_asks(plan: Plan, chance: random.Random) -> list[Ask]:
    """Jobs whose right results are known beforehand, and some that kill."""
    poisonous = set(chance.sample(range(plan.jobs // 2), plan.poison))
    return [_scripted_ask(number, chance, is_poison=number in poisonous) for number in range(plan.jobs)]


def _scripted_ask(number: int, chance: random.Random, *, is_poison: bool) -> Ask:
    prompt = POISON if is_poison else f"thing {number}"
    image = picture() + str(number).encode()  # what stands behind its end is not looked at, and makes it another
    if is_poison:
        return Ask(prompt, image, None, None, is_cancel_wanted=False, is_repeated=False)
    return Ask(prompt, image, scripted_answer(f"segment {prompt}", image), **_whims(chance))


@cache
def picture() -> bytes:
    """A small PNG."""
    file = io.BytesIO()
    Image.new("RGB", (20, 10)).save(file, "PNG")
    return file.getvalue()


def demo_asks(plan: Plan, chance: random.Random, url: str) -> list[Ask]:
    """Jobs for the demo checkpoint. What it answers in peace is the right result."""
    asked = questions(first=7_000, scenes=10)
    with httpx2.Client(base_url=url, timeout=90) as client:
        known = [(each, SegmentationResult.model_validate(ask_in_peace(client, each))) for each in asked]
    chosen = [chance.choice(known) for _ in range(plan.jobs)]
    return [Ask(question.prompt, question.image, result, **_whims(chance)) for question, result in chosen]


def _whims(chance: random.Random) -> dict[str, Any]:
    return {
        "timeout_s": chance.choice((0.3, 2.0, 600.0)) if chance.random() < 0.1 else None,
        "is_cancel_wanted": chance.random() < 0.06,
        "is_repeated": chance.random() < 0.06,
    }


def _wait_for_ends(fleet: Fleet, asks: Sequence[Ask], longest_s: float) -> dict[str, dict[str, Any]]:
    """How each job that ended did so, as first seen, by key."""
    deadline = time.monotonic() + longest_s
    ended: dict[str, dict[str, Any]] = {}
    while time.monotonic() < deadline:
        fresh = _read_all(fleet.url, [ask for ask in asks if ask.key not in ended])
        ended |= {key: job for key, job in fresh.items() if job["status"] in _ENDED}
        if len(ended) == len(asks):
            break
        time.sleep(0.5)
    return ended


def _read_all(url: str, asks: Sequence[Ask]) -> dict[str, dict[str, Any]]:
    """Jobs by the key of their ask; those that the service does not know are missing."""
    with httpx2.Client(base_url=url, timeout=10) as client, ThreadPoolExecutor(4) as pool:
        answers = pool.map(lambda ask: client.get(f"/jobs/{ask.job_id}"), asks)
        pairs = zip(asks, answers, strict=True)
        return {ask.key: answer.json() for ask, answer in pairs if answer.status_code == 200}


def _verdict(ask: Ask, job: dict[str, Any] | None, again: dict[str, Any] | None) -> str | None:
    if job is None or again is None:
        return "lost"
    return judge(ask, job) or (None if job == again else "it ended, and then changed")


def is_sound(figures: dict[str, Any]) -> bool:
    """Whether every promise was kept."""
    return not any(figures[name] for name in ("lost", "wrong", "double_commits", "duplicates"))


def main() -> int:
    """Run, print the figures as JSON, and return an exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=Plan.jobs)
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="over which the jobs are submitted")
    parser.add_argument("--workers", type=int, default=Plan.workers)
    parser.add_argument("--fault-every", type=float, default=Plan.fault_every_s, help="seconds between faults")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    parser.add_argument("--demo", action="store_true", help="with the demo checkpoint instead of a script")
    parser.add_argument("--save", help="keep the figures in benchmarks/results/NAME.json")
    options = parser.parse_args()
    plan = Plan(
        jobs=options.jobs,
        seconds=options.seconds,
        workers=options.workers,
        demo=options.demo,
        fault_every_s=options.fault_every,
        seed=options.seed,
    )
    folder = Path(tempfile.mkdtemp(prefix="maskq-chaos-"))
    figures = run(plan, folder)
    report("benchmarks.chaos", figures, options.save)
    if not is_sound(figures):
        print(f"not sound; logs and data are in {folder}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
