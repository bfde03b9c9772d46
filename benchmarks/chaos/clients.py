"""What clients of the chaos runs want, and how stubbornly they ask for it."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2

from evaluation.datasets.scenes import scene_examples
from evaluation.http_predictor import Service, http_predictor
from shared.domain.result import SegmentationResult
from testing.scripted_worker import POISON, scripted_answer
from testing.uploads import small_png

_RETRY_S = 0.2
_CLIENTS = 12


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
        self._mean_duration_s = seconds / len(asks)
        self.refusals: Counter[str] = Counter()
        """What was answered instead of 202, by status, and connections that broke."""

    def run(self) -> None:
        """Return when every job was accepted."""
        begin = time.monotonic()
        with ThreadPoolExecutor(_CLIENTS) as pool, httpx2.Client(base_url=self._url, timeout=10) as client:

            def play(number: int) -> None:
                time.sleep(max(0.0, begin + number * self._mean_duration_s - time.monotonic()))
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


def scripted_asks(jobs: int, poison: int, chance: random.Random) -> list[Ask]:
    """Jobs for the script: their right results are known beforehand. So many of them kill, all in the first half."""
    poisonous = set(chance.sample(range(jobs // 2), poison))
    return [_scripted_ask(number, chance, is_poison=number in poisonous) for number in range(jobs)]


def _scripted_ask(number: int, chance: random.Random, *, is_poison: bool) -> Ask:
    prompt = POISON if is_poison else f"thing {number}"
    image = small_png() + str(number).encode()  # what stands behind its end is not looked at, and makes it another
    if is_poison:
        return Ask(prompt, image, None, None, is_cancel_wanted=False, is_repeated=False)
    return Ask(prompt, image, scripted_answer(f"segment {prompt}", image), **_whims(chance))


def demo_asks(jobs: int, chance: random.Random, url: str) -> list[Ask]:
    """Jobs for the demo checkpoint. What it answers in peace is the right result."""
    with http_predictor(Service(url)) as answer:
        known = [(each.prompt, each.read_image(), answer(each)) for each in scene_examples(20, first=7_000)]
    return [Ask(*chance.choice(known), **_whims(chance)) for _ in range(jobs)]


def _whims(chance: random.Random) -> dict[str, Any]:
    return {
        "timeout_s": chance.choice((0.3, 2.0, 600.0)) if chance.random() < 0.1 else None,
        "is_cancel_wanted": chance.random() < 0.06,
        "is_repeated": chance.random() < 0.06,
    }
