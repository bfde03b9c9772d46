"""A stage's state on disk, so that a run that was cut off goes on where it was."""

import time
from pathlib import Path
from typing import Any, Protocol

import torch


class Stateful(Protocol):
    """Whatever can hand out its state and take it back: modules, optimizers, averages."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class Saved:
    """The parts of a stage and the number of steps done, kept in one file that is always whole."""

    def __init__(self, file: Path, every_s: float = 120.0, **parts: Stateful) -> None:
        self._file, self._every_s, self._parts = file, every_s, parts
        self._last = time.monotonic()

    def load(self) -> int:
        """Put every part back as it was; returns the steps already done, 0 when there is no file."""
        if not self._file.exists():
            return 0
        state = torch.load(self._file, weights_only=True)
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        return int(state["steps"])

    def save(self, steps: int) -> None:
        """Write the state after ``steps`` steps."""
        state = {name: part.state_dict() for name, part in self._parts.items()} | {"steps": steps}
        unfinished = self._file.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(self._file)
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._last >= self._every_s
