"""RefCOCO in its published format: a small artificial data set, pickled as by Python 2."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from evaluation.datasets.refcoco import refcoco_examples
from evaluation.example import DataError
from testing.pictures import encoded, gradient

_REFS = [
    {
        "ref_id": 7, "ann_id": 70, "image_id": 1, "category_id": 3, "split": "val", "sent_ids": [71, 72],
        "file_name": "COCO_train2014_000000000001_70.jpg",
        "sentences": [
            {"sent_id": 71, "sent": "left dog", "raw": "Left dog", "tokens": ["left", "dog"]},
            {"sent_id": 72, "sent": "dog; brown", "raw": "dog; brown", "tokens": ["dog", "brown"]},
        ],
    },
    {
        "ref_id": 5, "ann_id": 50, "image_id": 1, "category_id": 3, "split": "testA", "sent_ids": [51],
        "file_name": "COCO_train2014_000000000001_50.jpg",
        "sentences": [{"sent_id": 51, "sent": "other dog", "raw": "other dog", "tokens": ["other", "dog"]}],
    },
]  # fmt: skip
_INSTANCES = {
    "images": [{"id": 1, "width": 64, "height": 48, "file_name": "COCO_train2014_000000000001.jpg"}],
    "categories": [{"id": 3, "name": "dog"}],
    "annotations": [
        {
            "id": 70, "image_id": 1, "category_id": 3, "iscrowd": 0, "bbox": [8, 12, 16, 24], "area": 384,
            "segmentation": [[8, 12, 24, 12, 24, 36, 8, 36]],
        },
        {
            "id": 50, "image_id": 1, "category_id": 3, "iscrowd": 0, "bbox": [40, 0, 8, 8], "area": 64,
            "segmentation": [[40, 0, 48, 0, 48, 8, 40, 8]],
        },
    ],
}  # fmt: skip


def _python_2(value: Any) -> bytes:
    """Protocol 0 with byte strings, as `cPickle.dump(refs, file)` of Python 2 wrote it."""
    if isinstance(value, str):
        return b"S" + repr(value).encode("latin1") + b"\n"
    if isinstance(value, int):
        return b"I%d\n" % value
    if isinstance(value, list):
        return b"(l" + b"".join(_python_2(each) + b"a" for each in value)
    return b"(d" + b"".join(_python_2(key) + _python_2(each) + b"s" for key, each in value.items())


@pytest.fixture(params=["python 2", "today"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    data, images = tmp_path / "refcoco", tmp_path / "images/mscoco/images/train2014"
    data.mkdir()
    images.mkdir(parents=True)
    refs = _python_2(_REFS) + b"." if request.param == "python 2" else pickle.dumps(_REFS)
    (data / "refs(unc).p").write_bytes(refs)
    (data / "instances.json").write_text(json.dumps(_INSTANCES))
    (images / "COCO_train2014_000000000001.jpg").write_bytes(encoded(gradient(), "JPEG"))
    return tmp_path


def test_every_sentence_of_the_split_is_an_example_with_one_object(folder: Path) -> None:
    examples = list(refcoco_examples(folder, "refcoco", "val"))
    assert [(example.id, example.prompt) for example in examples] == [
        ("sentence 71", "left dog"),
        ("sentence 72", "dog, brown"),
    ]
    for example in examples:
        (truth,) = example.ground_truth
        assert example.refers_to_one
        assert truth.box == (0.25, 0.125, 0.75, 0.375)
        assert truth.mask["size"] == [48, 64]
        assert example.read_image() == encoded(gradient(), "JPEG")


def test_an_unknown_split_is_refused_with_a_list_of_the_known_ones(folder: Path) -> None:
    with pytest.raises(DataError, match="testA, val"):
        list(refcoco_examples(folder, "refcoco", "test"))


class _Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 0",)


def test_code_in_a_pickle_is_never_run(folder: Path) -> None:
    (folder / "refcoco" / "refs(unc).p").write_bytes(pickle.dumps([_Bomb()]))
    with pytest.raises(DataError, match=r"system: it is more than data"):
        list(refcoco_examples(folder, "refcoco", "val"))


@pytest.mark.parametrize("data", [b"", b"not a pickle", pickle.dumps({"refs": []}), pickle.dumps(_REFS)[:-20]])
def test_a_damaged_pickle_is_explained(folder: Path, data: bytes) -> None:
    (folder / "refcoco" / "refs(unc).p").write_bytes(data)
    with pytest.raises(DataError, match=r"refs\(unc\)"):
        list(refcoco_examples(folder, "refcoco", "val"))


def test_files_outside_the_folder_are_never_read(folder: Path) -> None:
    (folder / "secret").write_text("")
    changed = json.loads(json.dumps(_INSTANCES))
    changed["images"][0]["file_name"] = "../../../../secret"
    (folder / "refcoco" / "instances.json").write_text(json.dumps(changed))
    with pytest.raises(DataError, match="is not a file in"):
        list(refcoco_examples(folder, "refcoco", "val"))
