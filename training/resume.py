"""The state of a training stage on disk, so that an interrupted run continues where it stopped."""

import time
from pathlib import Path
from typing import Any, Protocol

import torch


class Stateful(Protocol):
    """Anything whose state can be read and restored: modules, optimizers, averages."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class SavedState:
    """The parts of a stage and the number of finished steps, in one file. The file is replaced atomically."""

    def __init__(self, file: Path, every_s: float = 120.0, **parts: Stateful) -> None:
        self._file, self._every_s, self._parts = file, every_s, parts
        self._last = time.monotonic()

    def load(self) -> int:
        """Restore every part. Returns the number of finished steps, 0 if there is no file."""
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

    def is_due(self) -> bool:
        """Whether the last save was at least ``every_s`` seconds ago."""
        return time.monotonic() - self._last >= self._every_s
