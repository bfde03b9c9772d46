"""Folders in COCO's format are read as examples; errors in the format are explained."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from evaluation.datasets.coco import coco_examples
from evaluation.example import DataError
from testing.pictures import encoded, gradient

_SQUARE = [8, 12, 24, 12, 24, 36, 8, 36]


def _annotation(number: int, category: int, **changes: Any) -> dict[str, Any]:
    plain = {"id": number, "image_id": 1, "category_id": category, "iscrowd": 0, "bbox": [8, 12, 16, 24]}
    return {**plain, "segmentation": [_SQUARE], **changes}


def _mask() -> np.ndarray[Any, np.dtype[np.uint8]]:
    mask = np.zeros((48, 64), np.uint8, order="F")
    mask[12:36, 8:24] = 1
    return mask


@pytest.fixture
def instances() -> dict[str, Any]:
    packed = coco.encode(_mask())
    runs = {"size": [48, 64], "counts": [8 * 48 + 12, *[24, 24] * 15, 24, 12 + 40 * 48]}
    return {
        "images": [{"id": 1, "width": 64, "height": 48, "file_name": "a.png"}],
        "categories": [{"id": 3, "name": "dog"}, {"id": 4, "name": "cat"}, {"id": 5, "name": "bird"}],
        "annotations": [
            _annotation(1, 4),
            _annotation(2, 3, segmentation=runs),
            _annotation(3, 3, segmentation={"size": [48, 64], "counts": packed["counts"].decode()}),
            _annotation(4, 5),
            _annotation(5, 5, iscrowd=1, segmentation=runs),
        ],
    }


@pytest.fixture
def folder(tmp_path: Path, instances: dict[str, Any]) -> Path:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances.json").write_text(json.dumps(instances))
    (tmp_path / "a.png").write_bytes(encoded(gradient()))
    return tmp_path


def test_each_category_of_an_image_is_an_example_with_its_name_as_prompt(folder: Path) -> None:
    examples = list(coco_examples(folder))
    assert [(each.id, each.prompt, len(each.ground_truth)) for each in examples] == [
        ("image 1, category 3", "dog", 2),
        ("image 1, category 4", "cat", 1),
    ]  # no bird: its annotations include a crowd region
    assert examples[0].read_image() == encoded(gradient())


def test_polygons_and_both_kinds_of_run_lengths_are_read(folder: Path) -> None:
    truths = [truth for example in coco_examples(folder) for truth in example.ground_truth]
    assert len(truths) == 3
    for truth in truths:
        assert truth.box == (0.25, 0.125, 0.75, 0.375)
        assert (coco.decode(truth.mask) == _mask()).mean() > 0.99


def test_run_lengths_are_read_exactly(folder: Path) -> None:
    dogs = next(coco_examples(folder)).ground_truth
    assert all((coco.decode(truth.mask) == _mask()).all() for truth in dogs)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"images": []}, "no image 1"),
        ({"categories": []}, "no category 3"),
        ({"images": [{"id": 1, "width": 64, "height": 48, "file_name": "../etc"}]}, "not a file in"),
    ],
)
def test_broken_references_are_explained(
    folder: Path, instances: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    (folder / "annotations" / "instances.json").write_text(json.dumps({**copy.deepcopy(instances), **change}))
    with pytest.raises(DataError, match=reason):
        list(coco_examples(folder))


@pytest.mark.parametrize("text", ["", "[]", '{"images": []}'])
def test_json_in_another_format_is_explained(folder: Path, text: str) -> None:
    (folder / "annotations" / "instances.json").write_text(text)
    with pytest.raises(DataError, match=r"instances\.json"):
        list(coco_examples(folder))


def test_one_of_several_annotation_files_must_be_chosen(folder: Path) -> None:
    (folder / "more.json").write_text("{}")
    with pytest.raises(DataError, match="--annotations"):
        list(coco_examples(folder))
    assert len(list(coco_examples(folder, annotations=folder / "annotations" / "instances.json"))) == 2
