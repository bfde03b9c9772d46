"""Draws the samples of the service's page for the emoji checkpoint: ``python -m training.page_samples``."""

from pathlib import Path

from PIL import Image

from scenes.layout import FORMS
from scenes.scene import draw_scene

FOLDER = Path(__file__).parent.parent / "api" / "pages" / "app"
SEEDS = {"emoji-cats.jpg": 10_058_711, "emoji-tigers.jpg": 10_025_428, "emoji-cars.jpg": 10_027_735}
"""Held-out scenes by the names of their files."""


def main() -> None:
    """Write all samples."""
    for name, seed in SEEDS.items():
        image = Image.fromarray(draw_scene(seed, FORMS["emoji"]).image)
        image.save(FOLDER / name, quality=88, optimize=True)


if __name__ == "__main__":
    main()
