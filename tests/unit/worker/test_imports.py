"""Entry points set up a process; importing a module of the worker must not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_PROGRAM = """
import importlib, os, pkgutil
import celery, flax.linen, jax, torch, worker  # these libraries change the environment themselves
from transformers import PaliGemmaForConditionalGeneration, PaliGemmaProcessor
from transformers.utils import logging

def state():
    return dict(os.environ), torch.get_num_threads(), logging.is_progress_bar_enabled(), dict(jax.config.values)

torch.set_num_threads(3)
before = state()
for module in pkgutil.walk_packages(worker.__path__, "worker."):
    importlib.import_module(module.name)
environment, *rest = before
new_environment, *new_rest = state()
print(sorted(name for name, value in new_environment.items() if environment.get(name) != value), new_rest == rest)
"""


@pytest.mark.slow
def test_importing_the_worker_changes_nothing_of_the_process(root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout == "[] True\n", done.stderr
