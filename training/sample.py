"""The sample that ships with the checkpoint: a held-out scene and a prompt."""

import json
from pathlib import Path

from PIL import Image

from scenes.scene import draw_scene
from shared.domain.paligemma import write_prompt
from training.subjects import Subject


def write_sample(folder: Path, subject: Subject) -> None:
    """Write ``sample.jpg`` and ``sample.json`` into the checkpoint folder."""
    Image.fromarray(draw_scene(subject.sample_seed, subject.form).image).save(folder / "sample.jpg", quality=92)
    sample = {"prompt": write_prompt([subject.sample_phrase]), "seed": subject.sample_seed}
    (folder / "sample.json").write_text(json.dumps(sample, indent=2) + "\n")
