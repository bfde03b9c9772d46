"""The progress of a stage: a bar on a terminal, a line now and then in a log, and all metrics in a file."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tqdm import tqdm

from training.metrics_log import METRICS_FILE, append_metrics

_SMOOTHING = 0.98


class Progress:
    """Shows step, rate, time left and smoothed metrics. Appends the metrics without smoothing to `metrics.jsonl`."""

    def __init__(self, name: str, steps: int, folder: Path, *, done: int = 0, every_s: float = 20.0) -> None:
        """`folder` contains the metrics of all stages; `done` steps were finished by an interrupted run."""
        self._name, self._steps, self._every_s = name, steps, every_s
        self._file = folder / METRICS_FILE
        self._printed = time.monotonic()
        self._smooth: dict[str, float] = {}
        self._bar = tqdm(desc=name, total=steps, initial=done, unit="step", disable=not sys.stderr.isatty())
        self._began, self._done_before = time.monotonic(), done

    def report(self, step: int, **metrics: float) -> None:
        """Record the metrics of `step`, counted from 0, and show them when it is time."""
        for name, value in metrics.items():
            self._smooth[name] = _SMOOTHING * self._smooth.get(name, value) + (1 - _SMOOTHING) * value
        append_metrics(self._file, self._name, step + 1, metrics)
        self._bar.set_postfix_str(self._smoothed_text, refresh=False)
        self._bar.update()
        self._print(step)
        if step + 1 == self._steps:
            self._bar.close()

    @property
    def _smoothed_text(self) -> str:
        return "  ".join(f"{name} {value:.4f}" for name, value in self._smooth.items())

    def _print(self, step: int) -> None:
        now = time.monotonic()
        if self._bar.disable and (now - self._printed >= self._every_s or step + 1 == self._steps):
            self._printed = now
            rate = (step + 1 - self._done_before) / max(now - self._began, 1e-9)
            left_min = (self._steps - step - 1) / rate / 60
            progress = f"{step + 1}/{self._steps}  {rate:.2f} steps/s  {left_min:.1f} min left"
            print(f"{self._name} {progress}  {self._smoothed_text}", flush=True)
