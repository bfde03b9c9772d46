"""The result of a job, without what needs the service."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from maskq.coco import CocoDataset
from maskq.detections import fiftyone_detections, supervision_detections
from maskq.packages import require
from maskq.segments import Segments
from maskq.typed import Json

if TYPE_CHECKING:
    import fiftyone
    import PIL.Image
    import supervision


class BaseResult(Segments):
    """What the results of both clients have in common."""

    def to_coco(self) -> Json:
        """A COCO data set of this image, with masks as run lengths. For many images, see `CocoDataset`.

        Raises:
            MaskUnavailable: the job was submitted without the mask format `rle`.
        """
        return CocoDataset([self]).json()

    def to_supervision(self, classes: Sequence[str] | None = None) -> supervision.Detections:
        """`supervision.Detections`. The mask of an object without one is empty.

        Args:
            classes: the labels in the order of their numbers. Default: the labels of this result, in the order of its
                objects. An object whose label is not among them is left out.

        Raises:
            MaskUnavailable: the job was submitted without the mask format `rle`.
            MissingPackage: supervision is not installed.
        """
        return supervision_detections(self, classes)

    def to_fiftyone(self) -> fiftyone.Detections:
        """`fiftyone.Detections`: boxes as shares of the image, with instance masks. An object without a mask has only a
        box.

        Raises:
            MaskUnavailable: the job was submitted without the mask format `rle`.
            MissingPackage: FiftyOne is not installed.
        """
        return fiftyone_detections(self)


def picture_of(png: bytes) -> PIL.Image.Image:
    """A PNG as a Pillow image.

    Raises:
        MissingPackage: Pillow is not installed.
    """
    picture: PIL.Image.Image = require("PIL.Image", "images").open(io.BytesIO(png))
    picture.load()
    return picture
