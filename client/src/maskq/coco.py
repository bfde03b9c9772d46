"""COCO data sets of one or of many results (cocodataset.org/#format-data), with masks as run lengths."""

from __future__ import annotations

from collections.abc import Iterable

from maskq.segments import Segment, Segments
from maskq.typed import Json

HEAD: Json = {"info": {"description": "masks made by maskq", "contributor": "maskq"}, "licenses": []}
"""How a data set begins."""


class CocoDataset:
    """Collects results. Images, annotations and categories are numbered from 1, in the order in which they come: a
    label has the same category in all images."""

    def __init__(self, results: Iterable[Segments] = ()) -> None:
        self._images: list[Json] = []
        self._annotations: list[Json] = []
        self._categories: dict[str, int] = {}
        for result in results:
            self.add(result)

    def add(self, result: Segments, file_name: str | None = None) -> None:
        """Add the image of a result and its objects. The image has the name of the job's file, unless another is given;
        without any, the id of the job. An object without a mask has an empty `segmentation`.

        Raises:
            MaskUnavailable: the job was submitted without the mask format `rle`. Nothing was added.
        """
        image_id = len(self._images) + 1
        name = file_name or result.job.file_name or result.job.id
        shapes = [shape_of(found) for found in result]  # first: without masks, the data set stays as it was
        self._images.append(image(image_id, name, result.width, result.height, result.job.id, result.job.ref))
        for found, shape in zip(result, shapes, strict=True):
            ids = {"id": len(self._annotations) + 1, "image_id": image_id, "category_id": self._category_of(found)}
            self._annotations.append({**ids, **shape})

    def json(self) -> Json:
        """The data set as one JSON document, for `pycocotools.coco.COCO` and tools that read the same."""
        return {
            **HEAD,
            "images": self._images,
            "categories": [category(number, name) for name, number in self._categories.items()],
            "annotations": self._annotations,
        }

    def _category_of(self, found: Segment) -> int:
        return self._categories.setdefault(found.name, len(self._categories) + 1)


def shape_of(found: Segment) -> Json:
    """What an annotation says about one object, without the numbers.

    Raises:
        MaskUnavailable: the job was submitted without the mask format `rle`.
    """
    x0, y0, x1, y1 = found.box
    rle = found.rle
    return {
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": found.area if rle else (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "score": found.score,
        "segmentation": {"size": rle["size"], "counts": rle["counts"]} if rle else [],
    }


def image(number: int, file_name: str, width: int, height: int, job_id: str, ref: str | None = None) -> Json:
    """An image of a data set, with the job that it belongs to. Sizes are in pixels."""
    size = {"width": width, "height": height}
    return {"id": number, "file_name": file_name, **size, "job_id": job_id, **({"ref": ref} if ref else {})}


def category(number: int, name: str) -> Json:
    """A category of a data set."""
    return {"id": number, "name": name, "supercategory": ""}
