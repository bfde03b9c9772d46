"""Weights in 8 bits, through the real torchao.

TORCHAO_PATH names a folder with it, because transformers imports it wherever it is installed:

    python -m pip install --no-deps --target torchao "torchao>=0.18,<0.19"
    TORCHAO_PATH=$PWD/torchao scripts/test tests/model/test_quantize.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from shared.errors import CheckpointError
from worker.loading.checkpoint import Checkpoint
from worker.loading.quantize import quantize, weight_bytes
from worker.loading.weights import StoredTensor

_CPU = torch.device("cpu")


@pytest.mark.slow
@pytest.mark.peers
def test_weights_of_8_bits_take_less_memory_and_give_the_answers_of_float32_mostly() -> None:
    folder = os.environ.get("TORCHAO_PATH")
    if not folder:
        pytest.skip("TORCHAO_PATH is not set: a folder with torchao")
    command = [sys.executable, "-m", "benchmarks.precision", "--jobs", "32", "--rounds", "1"]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": folder})
    results = json.loads(run.stdout)["results"]
    assert results["int8_float32"]["weights_mb"] < 0.5 * results["float32"]["weights_mb"]
    assert results["int8_float32"]["same_answers"] > 0.75
    assert results["float16"]["same_answers"] > 0.9


def test_int4_is_refused_on_a_cpu_with_advice(demo: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match="use int8"):
        quantize(demo.model, "int4", _CPU)


@pytest.mark.skipif(find_spec("torchao") is not None, reason="torchao is installed here")
def test_without_torchao_the_worker_says_what_to_install(demo: Checkpoint) -> None:
    with pytest.raises(CheckpointError, match=r"pip install 'maskq-server\[quantization\]'"):
        quantize(demo.model, "int8", _CPU)


def test_memory_counts_what_is_stored_in_fewer_bits() -> None:
    tensors = {
        "language_model.model.layers.0.mlp.gate_proj.weight": StoredTensor("BF16", (128, 10)),
        "model.language_model.layers.0.self_attn.q_proj.weight": StoredTensor("BF16", (128, 10)),
        "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight": StoredTensor("BF16", (100, 10)),
        "language_model.model.embed_tokens.weight": StoredTensor("BF16", (100, 10)),
        "vision_tower.vision_model.encoder.layers.0.mlp.fc1.bias": StoredTensor("BF16", (10,)),
    }
    assert weight_bytes(tensors, torch.bfloat16, "none") == 2 * (2 * 1280 + 1000 + 1000 + 10)
    assert weight_bytes(tensors, torch.bfloat16, "int8") == 2 * 1280 + 1000 + 2 * 1010
    assert weight_bytes(tensors, torch.bfloat16, "int4") == round(2 * 1280 * 0.53125) + 1000 + 2 * 1010
