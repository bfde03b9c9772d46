"""A folder in COCO's format as examples: one for each category in each image. The prompt is the category name.

https://cocodataset.org/#format-data. A category with a crowd region in an image is skipped there: such a region stands
for many objects, so a single mask cannot be compared with it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pycocotools import mask as coco

from evaluation.example import Box, DataError, Example, Rle, TrueObject, file_within

Table = dict[int, dict[str, Any]]


def coco_examples(folder: Path, annotations: Path | None = None, images: Path | None = None) -> Iterator[Example]:
    """Yield one example for each image and category, in the order of their ids.

    Raises:
        DataError: the folder is not in COCO's format.
    """
    instances = read_instances(annotations or _find_annotations(folder))
    images = images or (folder / "images" if (folder / "images").is_dir() else folder)
    images_by_id, categories = table(instances, "images"), table(instances, "categories")
    for (image_id, category_id), found in sorted(_by_image_and_category(instances).items()):
        if any(each.get("iscrowd") for each in found):
            continue
        image, name = look_up(images_by_id, image_id, "image"), look_up(categories, category_id, "category")["name"]
        path = file_within(images, image["file_name"])
        ground_truth = [true_object(each, image, name) for each in found]
        yield Example(f"image {image_id}, category {category_id}", name, path.read_bytes, ground_truth)


def read_instances(path: Path) -> dict[str, Any]:
    """Read the JSON file of a data set.

    Raises:
        DataError: the file is missing, or not in COCO's format.
    """
    try:
        instances = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise DataError(f"{path} is not a readable JSON file") from None
    if not isinstance(instances, dict) or not {"images", "annotations", "categories"} <= set(instances):
        raise DataError(f"{path} is not in COCO's format: it needs images, annotations and categories")
    return instances


def table(instances: dict[str, Any], name: str) -> Table:
    """Return the list `name` of the file as a dictionary by id."""
    return {each["id"]: each for each in instances[name]}


def look_up(rows: Table, row_id: int, what: str) -> dict[str, Any]:
    """Return the row with this id. `what` names its kind in the error message.

    Raises:
        DataError: there is no such row.
    """
    if row_id not in rows:
        raise DataError(f"there is no {what} {row_id}")
    return rows[row_id]


def true_object(annotation: dict[str, Any], image: dict[str, Any], label: str) -> TrueObject:
    """Convert an annotation to an object of the ground truth."""
    height, width = image["height"], image["width"]
    return TrueObject(label, _box(annotation["bbox"], height, width), _rle(annotation["segmentation"], height, width))


def _box(xywh: list[float], height: int, width: int) -> Box:
    x, y, w, h = xywh
    return y / height, x / width, (y + h) / height, (x + w) / width


def _rle(segmentation: Any, height: int, width: int) -> Rle:
    """Convert polygons, or compressed or uncompressed run lengths, to compressed run lengths."""
    if isinstance(segmentation, list):
        return coco.merge(coco.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco.frPyObjects(segmentation, height, width)
    return segmentation


def _find_annotations(folder: Path) -> Path:
    files = [*sorted(folder.glob("annotations/*.json")), *sorted(folder.glob("*.json"))]
    if len(files) != 1:
        raise DataError(f"{folder} has {len(files)} JSON files of annotations: choose one with --annotations")
    return files[0]


def _by_image_and_category(instances: dict[str, Any]) -> dict[tuple[int, int], list[dict[str, Any]]]:
    found = defaultdict(list)
    for each in instances["annotations"]:
        found[each["image_id"], each["category_id"]].append(each)
    return found
