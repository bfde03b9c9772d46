"""`maskq segment`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from maskq.cli.objects import print_objects
from maskq.cli.options import AsJson, Model, client_of
from maskq.cli.output import print_json, print_line, print_note, stderr
from maskq.cli.outputs import Outputs
from maskq.errors import ImageError
from maskq.images import ImageInput
from maskq.job import Job, Result
from maskq.submission import SubmitOptions

_FILES = "Write a file, by the end of its name: .json the job, mask.png all masks as one, .png or .jpg an overlay."


def segment(
    context: typer.Context,
    image: Annotated[str, typer.Argument(help="A file, a URL, or - for standard input.", show_default=False)],
    prompt: Annotated[str, typer.Argument(help="What to cut out, such as 'cat ; dog'.", show_default=False)],
    files: Annotated[list[Path] | None, typer.Option("--output", "-o", metavar="FILE", help=_FILES)] = None,
    overlay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the image with the masks drawn over it.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write one mask for each object: 0.png, 1.png, ...")
    ] = None,
    coco: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a COCO data set of this image.")] = None,
    model: Model = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="SCORE", help="Leave out objects with a lower score: 0.5, or by phrase cat=0.3."),
    ] = None,
    tiles: Annotated[str | None, typer.Option(help="Parts that the model sees: auto, 1, or such as 3x1.")] = None,
    duplicates: Annotated[str | None, typer.Option(help="Objects that the model names twice: merge or keep.")] = None,
    mask_format: Annotated[
        list[str] | None, typer.Option(metavar="FORMAT", help="Masks in the JSON: rle, polygon, png or crop.")
    ] = None,
    priority: Annotated[str | None, typer.Option(help="high, normal or low.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds until the service cancels the job.")] = None,
    ref: Annotated[str | None, typer.Option(help="Your own name for the job.")] = None,
    metadata: Annotated[str | None, typer.Option(metavar="JSON", help="A JSON object of your own.")] = None,
    webhook_url: Annotated[str | None, typer.Option(help="Where the service sends a message at the end.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="The same key returns the same job for a day.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print the id of the job, and do not wait.")] = False,
    as_json: AsJson = False,
) -> None:
    """Cut the objects that a prompt names out of one image.

    maskq segment photo.jpg "cat ; dog" -o overlay.png
    """
    outputs = Outputs(files or [], overlay, masks, coco)
    outputs.check()
    if no_wait and outputs != Outputs([]):
        raise typer.BadParameter("--no-wait writes no files")
    options = _options(
        model_id=model,
        score_threshold=_threshold(threshold or []),
        tiles=tiles,
        duplicates=duplicates,
        mask_format=mask_format or None,
        priority=priority,
        timeout=timeout,
        ref=ref,
        metadata=_object(metadata),
        webhook_url=webhook_url,
        idempotency_key=idempotency_key,
    )
    with client_of(context) as client:
        job = client.submit(_image(image), prompt, **options)
        if no_wait:
            print_json(job.json) if as_json else print_line(job.id)
            return
        result = _result(job)
        print_json(result.job.json) if as_json else _print(result)
        outputs.write(result)


def _options(**given: Any) -> SubmitOptions:
    return {name: value for name, value in given.items() if value is not None}  # type: ignore[return-value]


def _image(given: str) -> ImageInput:
    if given != "-":
        return given
    if sys.stdin.isatty():
        raise typer.BadParameter("- reads the image from standard input, which is a terminal")
    content = sys.stdin.buffer.read()
    if not content:
        raise ImageError("the image cannot be read: standard input is empty")
    return content


def _threshold(given: Sequence[str]) -> str | dict[str, str] | None:
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


def _object(text: str | None) -> Any:
    if text is None:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"--metadata is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter("--metadata is no JSON object")
    return value


def _result(job: Job) -> Result:
    try:
        with stderr.status(f"job {job.id}: Ctrl-C stops waiting"):
            return job.result()
    except KeyboardInterrupt:
        print_note(f"job {job.id} goes on: maskq job {job.id} --wait shows it, maskq cancel {job.id} ends it")
        raise


def _print(result: Result) -> None:
    if len(result):
        print_objects(result.job)
    else:
        print_note("no object was found")
    if result.truncated:
        print_note("objects may be missing: the answer of the model reached its maximum length")
