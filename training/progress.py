"""How a stage goes on: a bar for people at a terminal, a line now and then for a log, every figure for the plots."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from tqdm import tqdm


class Progress:
    """Shows step, rate, time left and smoothed figures, and appends the figures as they are to `metrics.jsonl`."""

    def __init__(self, name: str, steps: int, folder: Path, *, done: int = 0, every_s: float = 20.0) -> None:
        """`folder` takes the figures of all stages; `done` steps were made before, by a run that was cut off."""
        self._name, self._steps, self._every_s = name, steps, every_s
        self._metrics = folder / METRICS
        self._printed = time.monotonic()
        self._smooth: dict[str, float] = {}
        self._bar = tqdm(desc=name, total=steps, initial=done, unit="step", disable=not sys.stderr.isatty())
        self._began, self._done_before = time.monotonic(), done

    def report(self, step: int, **figures: float) -> None:
        """Take the figures of `step`, and show them when it is time."""
        for name, value in figures.items():
            self._smooth[name] = 0.98 * self._smooth.get(name, value) + 0.02 * value
        record(self._metrics, self._name, step + 1, figures)
        self._bar.set_postfix_str(self._figures, refresh=False)
        self._bar.update()
        self._print(step)
        if step + 1 == self._steps:
            self._bar.close()

    @property
    def _figures(self) -> str:
        return "  ".join(f"{name} {value:.4f}" for name, value in self._smooth.items())

    def _print(self, step: int) -> None:
        now = time.monotonic()
        if self._bar.disable and (now - self._printed >= self._every_s or step + 1 == self._steps):
            self._printed = now
            rate = (step + 1 - self._done_before) / max(now - self._began, 1e-9)
            left_min = (self._steps - step - 1) / rate / 60
            progress = f"{step + 1}/{self._steps}  {rate:.2f} steps/s  {left_min:.1f} min left"
            print(f"{self._name} {progress}  {self._figures}", flush=True)


METRICS = "metrics.jsonl"


def record(file: Path, stage: str, step: int, figures: dict[str, float]) -> None:
    """Append a line. A step that is made again after a cut is recorded again; the last line counts."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"stage": stage, "step": step, **figures}) + "\n")
