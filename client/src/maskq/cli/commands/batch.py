"""`maskq batch`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from maskq.batch.errors import BatchRefused
from maskq.batch.images import paths_in, plan_of
from maskq.batch.journal import DONE, FAILED
from maskq.batch.run import Batch
from maskq.batch.settings import BatchSettings
from maskq.cli.batch_progress import BatchProgress
from maskq.cli.exit_status import ExitStatus
from maskq.cli.interrupt import Interrupt
from maskq.cli.options import AsJson, client_of
from maskq.cli.output import print_error, print_json, stderr, text_of
from maskq.cli.standard_input import standard_input
from maskq.client import Client
from maskq.errors import MaskqError

_Images = Annotated[
    list[str], typer.Argument(default_factory=list, metavar="IMAGES", help="Folders or files.", show_default=False)
]
_Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="What to cut out of all of them, such as 'cat ; dog'.")]
_LOCAL_FILES = "/data/local-files/?d="


def segment_many(
    context: typer.Context,
    images: _Images,
    prompt: _Prompt,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the results. The same command goes on there.")],
    from_file: Annotated[
        str | None, typer.Option(help="Read paths from a file, one a line or separated by NUL; - is standard input.")
    ] = None,
    coco: Annotated[bool, typer.Option("--coco", help="Write one COCO data set, annotations.json.")] = False,
    overlays: Annotated[
        bool, typer.Option("--overlays", help="Write overlays/IMAGE.png: the masks drawn over it.")
    ] = False,
    masks: Annotated[
        bool, typer.Option("--masks", help="Write masks/IMAGE/0.png ...: one PNG for each object.")
    ] = False,
    labelstudio: Annotated[
        bool, typer.Option("--labelstudio", help="Write tasks with predictions, labelstudio.json.")
    ] = False,
    from_name: Annotated[str, typer.Option(help="Name of the control tag in Label Studio.")] = "tag",
    to_name: Annotated[str, typer.Option(help="Name of the object tag in Label Studio.")] = "image",
    image_prefix: Annotated[str, typer.Option(help="What comes before image names in the tasks.")] = _LOCAL_FILES,
    model: Annotated[str | None, typer.Option(help="A model of `maskq models`. [default: the first]")] = None,
    threshold: Annotated[float | None, typer.Option(min=0, max=1, help="Leave out objects with a lower score.")] = None,
    tiles: Annotated[str | None, typer.Option(help="Parts that the model sees: auto, 1, or such as 3x1.")] = None,
    duplicates: Annotated[str | None, typer.Option(help="Objects that the model names twice: merge or keep.")] = None,
    priority: Annotated[str | None, typer.Option(help="high, normal or low.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Most jobs under way.")] = 16,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try images again that have failed.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Remove the results in OUT and begin anew.")] = False,
    as_json: AsJson = False,
) -> int:
    """Cut objects out of many images. After an interruption, the same command goes on; no image is done twice.

    maskq batch photos "cat ; dog" -o results --coco
    """
    given = {
        "model_id": model, "score_threshold": threshold, "tiles": tiles, "duplicates": duplicates, "priority": priority
    }  # fmt: skip
    options = {name: value for name, value in given.items() if value is not None}
    settings = BatchSettings(prompt, options, masks, overlays, labelstudio, from_name, to_name)
    plan = plan_of(_paths(images, from_file), out)
    with client_of(context) as client, Batch(plan, settings, out, restart=restart) as batch:
        stopped_by = _run(batch, client, BatchProgress(as_json), concurrency, retry_failed=retry_failed)
        paths = batch.write_documents(coco=coco, labelstudio_prefix=image_prefix)
        _report(batch, paths, stopped_by, as_json=as_json)
        return _status(batch, stopped_by)


def _paths(given: list[str], from_file: str | None) -> list[Path]:
    for path in given:
        if not Path(path).exists():
            raise BatchRefused(f"there is no such file or folder: {path}")
    if not given and from_file is None:
        raise BatchRefused("images and a prompt are needed: maskq batch IMAGES... PROMPT -o OUT")
    return [*map(Path, given), *(paths_in(_listed(from_file)) if from_file is not None else [])]


def _listed(from_file: str) -> str:
    try:
        data = standard_input("the list") if from_file == "-" else Path(from_file).read_bytes()
    except OSError as error:
        raise BatchRefused(f"the list cannot be read: {error}") from error
    return os.fsdecode(data)


def _run(
    batch: Batch, client: Client, progress: BatchProgress, concurrency: int, *, retry_failed: bool
) -> MaskqError | KeyboardInterrupt | None:
    """Run what is left, and return why it stopped early, if it did."""
    entries = batch.to_do(retry_failed=retry_failed)
    with Interrupt() as interrupt, progress.of(len(batch.journal.entries), len(entries)):
        try:
            for name, end in batch.run(client, entries, concurrency, interrupt.has_come):
                progress.add(name, end)
        except MaskqError as error:
            return error
    return KeyboardInterrupt() if interrupt.has_come() else None


def _report(batch: Batch, paths: list[Path], stopped_by: BaseException | None, *, as_json: bool) -> None:
    counts = {"done": batch.count(DONE), "failed": batch.count(FAILED), "left": batch.count()}
    if as_json:
        error = str(stopped_by) if isinstance(stopped_by, MaskqError) else None
        interrupted = isinstance(stopped_by, KeyboardInterrupt)
        files = [str(path) for path in paths]
        print_json({"summary": {**counts, "done_before": batch.done_before, "interrupted": interrupted, "error": error,
                                "files": files}})  # fmt: skip
    if isinstance(stopped_by, MaskqError):
        print_error(text_of(stopped_by))
    if as_json:
        return
    before = f" ({batch.done_before} of them before)" if batch.done_before else ""
    _say(f"{counts['done']} done{before}, {counts['failed']} failed, {counts['left']} left")
    for path in paths:
        _say(f"wrote {path}")
    if stopped_by:
        _say("stopped; the same command goes on")
    elif counts["failed"]:
        _say("--retry-failed tries the failed ones again")


def _say(line: str) -> None:
    stderr.print(line, markup=False, highlight=False, soft_wrap=True)


def _status(batch: Batch, stopped_by: BaseException | None) -> int:
    if isinstance(stopped_by, MaskqError):
        return ExitStatus.of(stopped_by)
    if stopped_by:
        return ExitStatus.INTERRUPTED
    return ExitStatus.UNSUCCESSFUL if batch.count(FAILED) else ExitStatus.OK
