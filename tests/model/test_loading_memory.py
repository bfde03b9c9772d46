"""Loading takes about as much memory as the weights, also if their type changes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from testing.official_checkpoint import Shape, write_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs the peak of memory that Linux counts"),
]

_SHAPE = Shape(hidden=64, intermediate=65_536, layers=6, vision_hidden=64, vision_intermediate=64, vision_layers=1)
_PROGRAM = """
import sys
from pathlib import Path
import torch
from worker.loading.checkpoint import _load_model

def resident(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
before = resident("VmRSS")
model = _load_model(Path(sys.argv[1]), getattr(torch, sys.argv[2]), softcap=False)
sizes = [each.numel() * each.itemsize for each in model.parameters()]
print(resident("VmHWM") - before, sum(sizes), max(sizes))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of 0.2 GB in several files."""
    path = tmp_path_factory.mktemp("large") / "files"
    write_checkpoint(path, _SHAPE, shard_bytes=50_000_000)
    return path


@pytest.mark.parametrize(("dtype", "stored"), [("bfloat16", 0.0), ("float32", 0.5)])
def test_only_the_weights_and_one_more_are_in_memory(folder: Path, root: Path, dtype: str, stored: float) -> None:
    """`stored`: bytes that a weight takes in its file, for each byte in memory, if it is converted."""
    command = [sys.executable, "-c", _PROGRAM, str(folder), dtype]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=240)
    peak, weights, largest = map(int, done.stdout.split())
    assert peak <= weights + stored * largest + 60_000_000
