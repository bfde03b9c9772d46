"""Any folder in COCO's format as questions: each category that an image holds is asked for by its name.

https://cocodataset.org/#format-data. A category with a crowd region in an image is not asked for there: a region that
stands for many objects is no truth to hold one mask against.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pycocotools import mask as coco

from evaluation.example import Box, DataError, Question, Rle, Truth, file_within

Table = dict[int, dict[str, Any]]


def coco_questions(folder: Path, annotations: Path | None = None, images: Path | None = None) -> Iterator[Question]:
    """One question for each image and category, in the order of their ids.

    Raises:
        DataError: the folder is not in the format.
    """
    instances = read_instances(annotations or _find_annotations(folder))
    images = images or (folder / "images" if (folder / "images").is_dir() else folder)
    pictures, categories = table(instances, "images"), table(instances, "categories")
    for (image_id, category_id), found in sorted(_by_image_and_category(instances).items()):
        if any(each.get("iscrowd") for each in found):
            continue
        image, name = look_up(pictures, image_id, "image"), look_up(categories, category_id, "category")["name"]
        path = file_within(images, image["file_name"])
        truths = [truth_of(each, image, name) for each in found]
        yield Question(f"image {image_id}, category {category_id}", name, path.read_bytes, truths)


def read_instances(path: Path) -> dict[str, Any]:
    """The JSON file of a data set.

    Raises:
        DataError: it is missing or not such a file.
    """
    try:
        instances = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise DataError(f"{path} is not a JSON file that can be read") from None
    if not isinstance(instances, dict) or not {"images", "annotations", "categories"} <= set(instances):
        raise DataError(f"{path} has no images, annotations and categories: it is not in COCO's format")
    return instances


def table(instances: dict[str, Any], name: str) -> Table:
    """One of its lists, by id."""
    return {each["id"]: each for each in instances[name]}


def look_up(rows: Table, row_id: int, what: str) -> dict[str, Any]:
    """A row that something else names.

    Raises:
        DataError: it is missing.
    """
    if row_id not in rows:
        raise DataError(f"there is no {what} {row_id}")
    return rows[row_id]


def truth_of(annotation: dict[str, Any], image: dict[str, Any], label: str) -> Truth:
    """An annotated object."""
    height, width = image["height"], image["width"]
    return Truth(label, _box(annotation["bbox"], height, width), _rle(annotation["segmentation"], height, width))


def _box(xywh: list[float], height: int, width: int) -> Box:
    x, y, w, h = xywh
    return y / height, x / width, (y + h) / height, (x + w) / width


def _rle(segmentation: Any, height: int, width: int) -> Rle:
    """Polygons, or run lengths packed or plain, as packed run lengths."""
    if isinstance(segmentation, list):
        return coco.merge(coco.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco.frPyObjects(segmentation, height, width)
    return segmentation


def _find_annotations(folder: Path) -> Path:
    files = [*sorted(folder.glob("annotations/*.json")), *sorted(folder.glob("*.json"))]
    if len(files) != 1:
        raise DataError(f"{folder} has {len(files)} JSON files of annotations: name one with --annotations")
    return files[0]


def _by_image_and_category(instances: dict[str, Any]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    found = defaultdict(list)
    for each in instances["annotations"]:
        found[each["image_id"], each["category_id"]].append(each)
    return found
