"""The documents about all images, written from the journal. One image at a time is in memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from maskq.batch.folder import ResultFolder, whole_file
from maskq.batch.journal import DONE, FAILED, Journal
from maskq.coco import HEAD, category, image
from maskq.typed import Json


def write_coco(journal: Journal, path: Path) -> None:
    """One COCO data set of all images that are done. Images have their numbers in the journal."""
    with whole_file(path) as file:
        file.write(json.dumps(HEAD).encode()[:-1])
        _write_member(file, "images", _coco_images(journal))
        _write_member(file, "annotations", _coco_annotations(journal))
        _write_member(file, "categories", (category(number, name) for name, number in journal.categories.items()))
        file.write(b"}\n")


def write_labelstudio(journal: Journal, path: Path, prefix: str) -> None:
    """The tasks with their predictions. The URL of an image is the prefix and its name."""
    tasks = (
        {
            "data": {"image": prefix + quote(entry.file.name, errors="surrogateescape")},
            "predictions": [end["labelstudio"]],
        }
        for entry, end in journal.ends(DONE)
    )
    with whole_file(path) as file:
        _write_array(file, tasks)
        file.write(b"\n")


def write_failures(journal: Journal, folder: ResultFolder) -> None:
    """A table of the images that have failed. No file, if none has."""
    if not journal.count(FAILED):
        folder.failures.unlink(missing_ok=True)
        return
    with whole_file(folder.failures) as file:
        text = io.TextIOWrapper(file, "utf-8", errors="surrogateescape", newline="")
        rows = csv.writer(text)
        rows.writerow(["image", "type", "detail", "job_id", "attempt"])
        for entry, end in journal.ends(FAILED):
            rows.writerow([entry.file.name, end["type"], end["detail"], end["job_id"] or "", end["attempt"]])
        text.flush()
        text.detach()


def _coco_images(journal: Journal) -> Iterator[Json]:
    for entry, end in journal.ends(DONE):
        yield image(entry.number, entry.file.name, end["width"], end["height"], end["job_id"])


def _coco_annotations(journal: Journal) -> Iterator[Json]:
    number = 0
    for entry, end in journal.ends(DONE):
        for found in end["objects"]:
            number += 1
            ids = {"id": number, "image_id": entry.number, "category_id": journal.categories[found["name"]]}
            yield {**ids, **found["shape"]}


def _write_member(file: BinaryIO, name: str, values: Iterable[Json]) -> None:
    file.write(f', "{name}": '.encode())
    _write_array(file, values)


def _write_array(file: BinaryIO, values: Iterable[Json]) -> None:
    before = b"[\n"
    for value in values:
        file.write(before + json.dumps(value).encode())
        before = b",\n"
    file.write(b"\n]" if before == b",\n" else b"[]")
