"""On a GPU, with graphs and steps that are read back late, the engine writes the same tokens as on a CPU."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from scenes.scene import HELD_OUT_SEEDS, draw_scene
from shared.domain.paligemma import write_prompt
from shared.registry import served_model
from shared.settings import Settings
from worker.build import start_engine
from worker.engine.model_input import ModelInput
from worker.loading.checkpoint import Checkpoint, load_checkpoint
from worker.stages.preprocess import Preprocessor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device"),
]


def _answers(checkpoint: Checkpoint, settings: Settings, inputs: list[ModelInput]) -> list[list[int]]:
    engine = start_engine(checkpoint.model, checkpoint.processor.tokenizer, settings.engine)
    try:
        futures = [engine.submit(each) for each in inputs]
        return [future.result(120).token_ids for future in futures]
    finally:
        engine.close()


@pytest.mark.parametrize("force_format", [False, True])
def test_a_gpu_writes_what_a_cpu_writes(demo: Checkpoint, demo_settings: Settings, force_format: bool) -> None:
    on_gpu = demo_settings.replace(device="cuda", force_format=force_format)
    preprocessor = Preprocessor(demo.processor, demo_settings.engine.max_prompt_tokens)
    inputs = []
    for seed in HELD_OUT_SEEDS[:60]:
        scene = draw_scene(seed)
        prompt = write_prompt([f"{scene.objects[0].color} {scene.objects[0].kind}"])
        inputs.append(preprocessor.prepare(Image.fromarray(scene.image), prompt))
    expected = _answers(demo, demo_settings.replace(force_format=force_format), inputs)
    checkpoint = load_checkpoint(served_model(on_gpu.model), on_gpu.checkpoint, on_gpu.model)
    assert _answers(checkpoint, on_gpu, inputs) == expected
