"""An honest client: submits photos, reads masks and overlays, receives webhooks, and measures how long each takes."""

from __future__ import annotations

import math
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx2

from testing.pictures import photo_sized_png
from testing.scripted_receiver import Receiver

_PAUSE_S = 0.1
_TIMEOUT_S = 60.0


@dataclass
class Waits:
    """Seconds that requests took, by kind, and the errors."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, seconds: float, error: str = "") -> None:
        """Add one request. One that ended with an error counts as long as it took."""
        self.seconds.setdefault(kind, []).append(seconds)
        if error:
            self.errors[f"{kind}: {error}"] += 1

    def stats(self) -> dict[str, Any]:
        """The longest wait and the 99th percentile of all requests in seconds, and the longest wait of each kind."""
        every = [seconds for values in self.seconds.values() for seconds in values]
        return {
            "requests": len(every),
            "p50_s": statistics.median(every),
            "p99_s": sorted(every)[math.ceil(0.99 * len(every)) - 1],
            "worst_s": {kind: max(values) for kind, values in self.seconds.items()},
            "errors": dict(self.errors),
        }


class Neighbour:
    """Sends one request after the other, with a key of its own."""

    def __init__(self, url: str, key: str) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx2.Client(base_url=url, timeout=_TIMEOUT_S, headers=headers, verify=False)
        self._receiver = Receiver()
        self._webhooks = 0
        self.waits = Waits()

    def work(self, seconds: float) -> None:
        """Do the rounds of an honest client for `seconds`."""
        until = time.monotonic() + seconds
        with self._client, self._receiver.listening():
            while time.monotonic() < until:
                self._round()
                time.sleep(_PAUSE_S)

    def _round(self) -> None:
        fields = {"prompt": "cat", "webhook_url": self._receiver.url}
        image = {"image_file": ("a.png", photo_sized_png())}
        submitted = self._timed("submit", "POST", "/segment/", data=fields, files=image)
        if submitted is None:
            return
        job_id = submitted.json()["id"]
        done = self._timed("result", "GET", f"/jobs/{job_id}?wait=50")
        if done is None or done.json()["status"] != "succeeded":
            self.waits.errors[f"job: {done.json()['status'] if done else 'unknown'}"] += 1
            return
        self._await_webhook()
        self._timed("mask", "GET", f"/jobs/{job_id}/masks/0.png")
        self._timed("overlay", "GET", f"/jobs/{job_id}/overlay.png")
        self._timed("list", "GET", "/jobs")

    def _await_webhook(self) -> None:
        """Record how long after the end of the job its webhook comes."""
        self._webhooks += 1
        begin, error = time.monotonic(), ""
        try:
            self._receiver.wait_for(self._webhooks, _TIMEOUT_S)
        except AssertionError:
            error = "did not come"
        self.waits.add("webhook", time.monotonic() - begin, error)

    def _timed(self, kind: str, method: str, path: str, **keywords: Any) -> httpx2.Response | None:
        """Send a request and record how long it took. None if it failed."""
        begin, error, answer = time.monotonic(), "", None
        try:
            answer = self._client.request(method, path, **keywords)
            error = "" if answer.is_success else str(answer.status_code)
        except httpx2.HTTPError as failure:
            error = type(failure).__name__
        self.waits.add(kind, time.monotonic() - begin, error)
        return None if error else answer
