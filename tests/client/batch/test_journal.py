"""The journal alone, and the documents that are written from it."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from maskq.batch.documents import write_coco
from maskq.batch.errors import BatchRefused
from maskq.batch.images import ImageFile
from maskq.batch.journal import DONE, FAILED, Journal
from maskq.typed import Json

_HEAD: Json = {"id": "b", "settings": {}}
_COUNTS = "x" * 20_000


def _images(count: int) -> Iterator[ImageFile]:
    return (ImageFile(f"{number:05}.png", 1, 1) for number in range(count))


def _end(label: str = "cat", counts: str = "0") -> Json:
    shape = {"bbox": [0, 0, 1, 1], "segmentation": {"size": [1, 1], "counts": counts}}
    return {"kind": DONE, "job_id": "j", "width": 1, "height": 1, "objects": [{"name": label, "shape": shape}]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_a_journal_that_is_cut_anywhere_has_all_whole_lines(path: Path) -> None:
    journal = Journal(path, _HEAD)
    journal.add_images(_images(2))
    for entry in journal.entries.values():
        journal.add_end(entry, _end())
    journal.close()
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        cut = Journal(path, _HEAD)
        assert cut.head == {"kind": "batch", "version": 1, **_HEAD}
        cut.add_images(image for image in _images(2) if image.name not in cut.entries)
        for entry in list(cut.entries.values()):
            if entry.status is None:
                cut.add_end(entry, _end())
        cut.close()
        assert path.read_bytes() == whole


def test_a_key_is_the_same_until_an_attempt_has_ended(path: Path) -> None:
    journal = Journal(path, _HEAD)
    journal.add_images(_images(2))
    first, second = journal.entries.values()
    key = journal.key_of(first)
    assert key not in (journal.key_of(second), None)
    journal.close()
    journal = Journal(path, {"id": "other", "settings": {}})
    (first, _) = journal.entries.values()
    assert journal.key_of(first) == key
    journal.add_end(first, {"kind": FAILED, "type": "t", "detail": "", "job_id": None})
    assert journal.key_of(first) != key
    journal.close()


def test_categories_keep_their_numbers(path: Path) -> None:
    journal = Journal(path, _HEAD)
    journal.add_images(_images(3))
    one, _, three = journal.entries.values()
    journal.add_end(three, _end("zebra"))
    journal.add_end(one, _end("ant"))
    journal.close()
    journal = Journal(path, _HEAD)
    assert journal.categories == {"zebra": 1, "ant": 2}
    journal.close()


def test_a_file_that_is_no_journal_is_refused(path: Path) -> None:
    path.write_text("something else\n")
    with pytest.raises(BatchRefused, match="--restart"):
        Journal(path, _HEAD)


@pytest.mark.slow
def test_thousands_of_images_need_little_memory(path: Path, tmp_path: Path) -> None:
    """The lines have 100 MB together."""
    tracemalloc.start()
    journal = Journal(path, _HEAD)
    journal.add_images(_images(5_000))
    for entry in journal.entries.values():
        journal.add_end(entry, _end(counts=_COUNTS))
    journal.close()
    journal = Journal(path, _HEAD)
    write_coco(journal, tmp_path / "coco.json")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    journal.close()
    assert peak_bytes < 12e6
    images = json.loads((tmp_path / "coco.json").read_text())["images"]
    assert [each["id"] for each in images] == list(range(1, 5_001))
