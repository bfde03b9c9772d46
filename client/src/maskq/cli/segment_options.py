"""The options of `maskq segment`, and what they become."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

_FILES = "Write a file, by the end of its name: .json the job, mask.png all masks as one, .png or .jpg an overlay."
_OVERLAY = "Write the image with the masks drawn over it."
_MASKS = "Write one mask for each object: 0.png, 1.png, ..."
_THRESHOLD = "Leave out objects with a lower score: 0.5, or by phrase cat=0.3."
_Text = str | None

Image = Annotated[
    str, typer.Argument(metavar="IMAGE", help="A file, a URL, or - for standard input.", show_default=False)
]
Prompt = Annotated[
    str, typer.Argument(metavar="PROMPT", help="What to cut out, such as 'cat ; dog'.", show_default=False)
]
Files = Annotated[list[Path] | None, typer.Option("--output", "-o", metavar="FILE", help=_FILES)]
Overlay = Annotated[Path | None, typer.Option(metavar="FILE", help=_OVERLAY)]
Masks = Annotated[Path | None, typer.Option(metavar="FOLDER", help=_MASKS)]
Coco = Annotated[Path | None, typer.Option(metavar="FILE", help="Write a COCO data set of this image.")]
Threshold = Annotated[list[str] | None, typer.Option(metavar="SCORE", help=_THRESHOLD)]
Tiles = Annotated[_Text, typer.Option(help="Parts that the model sees: auto, 1, or such as 3x1.")]
Duplicates = Annotated[_Text, typer.Option(help="Objects that the model names twice: merge or keep.")]
MaskFormat = Annotated[
    list[str] | None, typer.Option(metavar="FORMAT", help="Masks in the JSON: rle, polygon, png, crop or labelstudio.")
]
FromName = Annotated[_Text, typer.Option(help="Name of your control tag in Label Studio.")]
ToName = Annotated[_Text, typer.Option(help="Name of your object tag in Label Studio.")]
Priority = Annotated[_Text, typer.Option(help="high, normal or low.")]
Timeout = Annotated[float | None, typer.Option(help="Seconds until the service cancels the job.")]
Ref = Annotated[_Text, typer.Option(help="Your own name for the job.")]
Metadata = Annotated[_Text, typer.Option(metavar="JSON", help="A JSON object of your own.")]
WebhookUrl = Annotated[_Text, typer.Option(help="Where the service sends a message at the end.")]
IdempotencyKey = Annotated[_Text, typer.Option(help="The same key returns the same job for a day.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Print the id of the job, and do not wait.")]


def threshold_of(given: Sequence[str]) -> str | dict[str, str] | None:
    """One score for all, or by phrase. The service checks the numbers."""
    if len(given) <= 1 and not any("=" in each for each in given):
        return given[0] if given else None
    pairs = [each.rpartition("=") for each in given]
    if any(not phrase for phrase, _, _ in pairs):
        raise typer.BadParameter("--threshold is one score, or PHRASE=SCORE, once or several times")
    return {phrase: _number(score) for phrase, _, score in pairs}


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"--threshold: {text!r} is no number") from None


def object_of(text: str | None) -> Any:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"--metadata is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter("--metadata is no JSON object")
    return value
