"""One line of progress every few seconds, for people who watch a long run in a log."""

import time


class Progress:
    """Prints step, rate, time left and smoothed figures; quiet in between."""

    def __init__(self, name: str, steps: int, every_s: float = 20.0) -> None:
        self._name, self._steps, self._every_s = name, steps, every_s
        self._started = self._printed = time.monotonic()
        self._first_step: int | None = None
        self._smooth: dict[str, float] = {}

    def report(self, step: int, **figures: float) -> None:
        """Take the figures of ``step``, and print a line when it is time."""
        self._first_step = step if self._first_step is None else self._first_step
        for name, value in figures.items():
            self._smooth[name] = 0.98 * self._smooth.get(name, value) + 0.02 * value
        now = time.monotonic()
        if now - self._printed >= self._every_s or step + 1 == self._steps:
            self._printed = now
            print(self._line(step, now - self._started), flush=True)

    def _line(self, step: int, elapsed_s: float) -> str:
        rate = (step + 1 - (self._first_step or 0)) / max(elapsed_s, 1e-9)
        left_min = (self._steps - step - 1) / rate / 60
        figures = "  ".join(f"{name} {value:.4f}" for name, value in self._smooth.items())
        return f"{self._name} {step + 1}/{self._steps}  {rate:.2f} steps/s  {left_min:.1f} min left  {figures}"
