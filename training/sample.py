"""The sample that ships with the checkpoint: a held-out scene and a prompt."""

import json
from pathlib import Path

from PIL import Image

from scenes.scene import draw_scene
from shared.domain.paligemma import write_prompt

SAMPLE_SEED = 10_003_843
SAMPLE_PROMPT = write_prompt(["red circle"])


def write_sample(folder: Path, seed: int = SAMPLE_SEED, prompt: str = SAMPLE_PROMPT) -> None:
    """Write ``sample.jpg`` and ``sample.json`` into the checkpoint folder."""
    Image.fromarray(draw_scene(seed).image).save(folder / "sample.jpg", quality=92)
    (folder / "sample.json").write_text(json.dumps({"prompt": prompt, "seed": seed}, indent=2) + "\n")
