"""What entry points set up for the whole process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from worker.build import limit_threads, limited_threads
from worker.loading.checkpoint import Checkpoint


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_a_small_model_runs_on_one_thread(demo: Checkpoint) -> None:
    limit_threads(demo.model)
    assert torch.get_num_threads() == 1


def test_a_process_gets_its_threads_back_after_an_evaluation(demo: Checkpoint) -> None:
    with limited_threads(demo.model):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("device", "parameters"), [("cpu", 3_000_000_000), ("cuda", 1_000_000)])
def test_other_models_keep_all_threads(device: str, parameters: int) -> None:
    limit_threads(SimpleNamespace(device=torch.device(device), num_parameters=lambda: parameters))
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("variable", "platforms"), [("", "cpu"), ("cpu,cuda", "cpu,cuda")])
def test_jax_stays_on_the_cpu_unless_the_environment_names_platforms(root: Path, variable: str, platforms: str) -> None:
    program = (
        "import jax; from worker.stages.mask_vqvae import keep_jax_on_cpu; keep_jax_on_cpu(); "
        "print(jax.config.values['jax_platforms'])"
    )
    env = {name: value for name, value in os.environ.items() if name != "JAX_PLATFORMS"}
    env |= {"JAX_PLATFORMS": variable} if variable else {}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=env, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == platforms
