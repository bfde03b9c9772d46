"""Reads a data set in COCO's format with another tool, and prints what the tool found as JSON. Runs in the environment
of that tool, without maskq: python read_coco.py READER FOLDER

Of each object: the label, the box as x0, y0, x1, y1 in pixels, and the number of pixels in its mask, or null.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Found = tuple[str, list[float], int | None]

_ANNOTATIONS = "annotations/instances_default.json"


def _datumaro(folder: Path, name: str) -> Iterator[Found]:
    import datumaro

    data_set = getattr(datumaro, name).import_from(str(folder), "coco_instances")
    labels = [each.name for each in data_set.categories()[datumaro.AnnotationType.label]]
    for item in data_set:
        boxes = [each for each in item.annotations if each.type == datumaro.AnnotationType.bbox]
        for box in sorted(boxes, key=lambda box: box.group):
            x, y, width, height = box.get_bbox()
            masks = [each for each in item.annotations if each.group == box.group and each is not box]
            area = int(sum(each.get_area() for each in masks)) if masks else None
            yield labels[box.label], [x, y, x + width, y + height], area


def _datumaro_experimental(folder: Path) -> Iterator[Found]:
    from datumaro.experimental.data_formats.base import DataFormat
    from datumaro.experimental.export_import import import_dataset

    paths = {"images_dir_path": str(folder / "images"), "annotations_path": str(folder / _ANNOTATIONS)}
    data_set = import_dataset(folder, data_format=DataFormat.COCO, **paths)
    labels = data_set.schema.attributes["labels"].categories.labels
    for sample in data_set:
        for label, (x, y, width, height), polygon, area in zip(
            sample.labels, sample.bboxes.tolist(), sample.polygons, sample.areas, strict=True
        ):
            yield labels[label], [x, y, x + width, y + height], int(area) if len(polygon) else None


def _fiftyone(folder: Path) -> Iterator[Found]:
    from fiftyone.utils.coco import COCODetectionDatasetImporter

    paths = {"data_path": str(folder / "images"), "labels_path": str(folder / _ANNOTATIONS)}
    with COCODetectionDatasetImporter(**paths, label_types=["detections", "segmentations"]) as importer:
        for _, metadata, fields in importer:
            masks = {each.label: each.mask for each in fields["segmentations"].detections}
            for each in fields["detections"].detections:
                x, y, width, height = each.bounding_box
                sides = [metadata.width, metadata.height] * 2
                box = [each * side for each, side in zip((x, y, x + width, y + height), sides, strict=True)]
                mask = masks.get(each.label)
                yield each.label, box, None if mask is None else int(mask.sum())


_READERS: dict[str, Callable[[Path], Iterator[Any]]] = {
    "datumaro": lambda folder: _datumaro(folder, "Dataset"),
    "datumaro-stream": lambda folder: _datumaro(folder, "StreamDataset"),
    "datumaro-experimental": _datumaro_experimental,
    "fiftyone": _fiftyone,
}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(list(_READERS[sys.argv[1]](Path(sys.argv[2])))))
