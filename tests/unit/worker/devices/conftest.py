"""No GPU but those that a test pretends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gpus import same_environment, without_driver


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    without_driver(monkeypatch, tmp_path / "empty")
    with same_environment():
        yield
