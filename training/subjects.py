"""What the checkpoints of this project learn."""

from dataclasses import dataclass

from scenes.layout import FORMS, ORDINARY, SceneForm


@dataclass(frozen=True)
class Subject:
    """A checkpoint's scenes, and the sample that ships with it: a held-out scene and a phrase."""

    form: SceneForm
    folder: str
    """Folder of the finished checkpoint in models/."""
    sample_seed: int
    sample_phrase: str


SUBJECTS = {
    "shapes": Subject(ORDINARY, "demo", 10_003_843, "red circle"),
    "emoji": Subject(FORMS["emoji"], "emoji", 10_027_029, "rabbit"),
}
