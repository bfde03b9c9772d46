"""The samples of the page, as its script names them."""

import re

from training.page_samples import FOLDER

SAMPLES = (FOLDER / "samples.js").read_text("utf-8")


def phrases_of(file_name: str) -> list[str]:
    """The phrases that the page offers for a sample that is a file."""
    (prompts,) = re.findall(rf'file: "{file_name}", prompts: \[(.*?)\]', SAMPLES)
    return re.findall(r'"(\w+)"', prompts)
