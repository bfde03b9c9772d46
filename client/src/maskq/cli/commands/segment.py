"""`maskq segment`."""

from __future__ import annotations

from typing import Any

import typer

from maskq.cli import segment_options as options
from maskq.cli.objects import print_objects
from maskq.cli.options import AsJson, Model, client_of
from maskq.cli.output import print_json, print_line, print_note, stderr
from maskq.cli.outputs import Outputs
from maskq.cli.standard_input import standard_input
from maskq.errors import ImageError
from maskq.images import ImageInput
from maskq.job import Job, Result
from maskq.submission import SubmitOptions


def segment(
    context: typer.Context,
    image: options.Image,
    prompt: options.Prompt,
    files: options.Files = None,
    overlay: options.Overlay = None,
    masks: options.Masks = None,
    coco: options.Coco = None,
    model: Model = None,
    threshold: options.Threshold = None,
    tiles: options.Tiles = None,
    duplicates: options.Duplicates = None,
    mask_format: options.MaskFormat = None,
    from_name: options.FromName = None,
    to_name: options.ToName = None,
    priority: options.Priority = None,
    timeout: options.Timeout = None,
    ref: options.Ref = None,
    metadata: options.Metadata = None,
    webhook_url: options.WebhookUrl = None,
    idempotency_key: options.IdempotencyKey = None,
    no_wait: options.NoWait = False,
    as_json: AsJson = False,
) -> None:
    """Cut the objects that a prompt names out of one image.

    maskq segment photo.jpg "cat ; dog" -o overlay.png
    """
    outputs = _checked(Outputs(files or [], overlay, masks, coco), no_wait)
    fields = _fields(
        model_id=model,
        score_threshold=options.threshold_of(threshold or []),
        tiles=tiles,
        duplicates=duplicates,
        mask_format=mask_format or None,
        from_name=from_name,
        to_name=to_name,
        priority=priority,
        timeout=timeout,
        ref=ref,
        metadata=options.object_of(metadata),
        webhook_url=webhook_url,
        idempotency_key=idempotency_key,
    )
    with client_of(context) as client:
        job = client.submit(_image(image), prompt, **fields)
        if no_wait:
            print_json(job.json) if as_json else print_line(job.id)
        else:
            _show(_result(job), outputs, as_json)


def _fields(**given: Any) -> SubmitOptions:
    return {name: value for name, value in given.items() if value is not None}  # type: ignore[return-value]


def _checked(outputs: Outputs, no_wait: bool) -> Outputs:
    """Find what is wrong before a job is submitted."""
    outputs.check()
    if no_wait and outputs != Outputs([]):
        raise typer.BadParameter("--no-wait writes no files")
    return outputs


def _image(given: str) -> ImageInput:
    if given != "-":
        return given
    content = standard_input("the image")
    if not content:
        raise ImageError("the image cannot be read: standard input is empty")
    return content


def _result(job: Job) -> Result:
    try:
        with stderr.status(f"job {job.id}: Ctrl-C stops waiting"):
            return job.result()
    except KeyboardInterrupt:
        print_note(f"job {job.id} goes on: maskq job {job.id} --wait shows it, maskq cancel {job.id} ends it")
        raise


def _show(result: Result, outputs: Outputs, as_json: bool) -> None:
    try:
        outputs.write(result)
    finally:  # a full disk does not cost the answer
        print_json(result.job.json) if as_json else _print(result)


def _print(result: Result) -> None:
    if len(result):
        print_objects(result.job)
    else:
        print_note(f"no object was found (maskq models says what {result.job.model_id} knows)")
    if result.truncated:
        print_note("objects may be missing: the answer of the model reached its maximum length")
