"""One image of a batch: submit it, wait for the result, write its files."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path

from maskq.batch.errors import detail_of, is_of_one_image, type_of
from maskq.batch.folder import ResultFolder, write_file, written
from maskq.batch.journal import DONE, FAILED
from maskq.batch.settings import BatchSettings
from maskq.client import Client
from maskq.coco import shape_of
from maskq.errors import MaskqError
from maskq.job import Result
from maskq.packages import require
from maskq.typed import Json


@dataclass(frozen=True)
class Task:
    """What makes the result of an image. Safe to share between threads."""

    client: Client
    settings: BatchSettings
    root: Path
    folder: ResultFolder

    def end_of(self, name: str, idempotency_key: str) -> Json:
        """Carry out the job of one image, and return how it ended, as the journal has it.

        Raises:
            MaskqError: the whole batch has to stop.
        """
        result: Result | None = None
        try:
            options = {**self.settings.options, "idempotency_key": idempotency_key}
            result = self.client.segment(self.root / name, self.settings.prompt, **options)
            return self._done(name, result)
        except MaskqError as error:
            if not is_of_one_image(error):
                raise
            job_id = result.job.id if result else getattr(error, "job_id", None)
            return {"kind": FAILED, "type": type_of(error), "detail": detail_of(error), "job_id": job_id}

    def _done(self, name: str, result: Result) -> Json:
        if self.settings.masks:
            _write_masks(result, self.folder.masks_of(name))
        if self.settings.overlays:
            write_file(self.folder.overlay_of(name), result.overlay_png())
        prediction = {"labelstudio": self._prediction(result)} if self.settings.labelstudio else {}
        return {
            "kind": DONE,
            "job_id": result.job.id,
            "width": result.width,
            "height": result.height,
            "truncated": result.truncated,
            "objects": [{"name": found.name, "shape": shape_of(found)} for found in result],
            **prediction,
        }

    def _prediction(self, result: Result) -> Json:
        return result.to_labelstudio(self.settings.from_name, self.settings.to_name)


def _write_masks(result: Result, folder: Path) -> None:
    """White inside, black outside. An object without a mask has no file."""
    picture = require("PIL.Image", "images")
    with written(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for number, found in enumerate(result):
        mask = found.mask
        if mask is not None:
            png = io.BytesIO()
            picture.fromarray(mask).save(png, "PNG")
            write_file(folder / f"{number}.png", png.getvalue())
