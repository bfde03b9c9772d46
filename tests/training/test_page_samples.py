"""What the page says of the emoji checkpoint is what that checkpoint learns."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenes.emoji import CHARACTERS, FONT
from scenes.layout import FORMS, choose_layout
from scenes.scene import draw_scene
from testing.required import require_file
from tests.page_samples import SAMPLES, phrases_of
from training.page_samples import FOLDER, SEEDS


def test_the_page_names_each_thing() -> None:
    (text,) = re.findall(r"const EMOJI = \((.*?)\)\.split", SAMPLES, re.DOTALL)
    assert " ".join(re.findall('"(.*?)"', text)).split() == sorted(CHARACTERS)


@pytest.mark.parametrize("name", SEEDS)
def test_a_sample_is_its_scene_and_shows_what_its_phrases_name(name: str) -> None:
    require_file(FONT, "fonts-noto-color-emoji")
    kinds = {shape.kind for shape in choose_layout(SEEDS[name], FORMS["emoji"]).shapes}
    assert set(phrases_of(name)) <= kinds
    with Image.open(Path(FOLDER / name)) as image:
        drawn = draw_scene(SEEDS[name], FORMS["emoji"]).image
        assert np.abs(np.asarray(image).astype(int) - drawn).mean() < 4
