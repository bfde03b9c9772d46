"""The objects that a job found, as a sequence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast, overload

from maskq import rle
from maskq.errors import MaskUnavailable
from maskq.job_state import JobState
from maskq.typed import Json

if TYPE_CHECKING:
    import numpy
    import numpy.typing

UNKNOWN = "unknown"
"""Stands for a missing label where a tool needs a text."""


class Segment:
    """One object."""

    def __init__(self, json: Json) -> None:
        """`json`: as the service described it."""
        self.json = json

    def __repr__(self) -> str:
        return f"<Segment {self.name!r} score={self.score:.3f} box={self.box}>"

    @property
    def label(self) -> str | None:
        """The model's name for the object; None if it gave none and several things were asked for."""
        return self.json["label"] or None

    @property
    def name(self) -> str:
        """The label, or `unknown`."""
        return self.label or UNKNOWN

    @property
    def score(self) -> float:
        """How sure the answer is, 0 to 1: a probability, if the result is `calibrated`."""
        return float(self.json["score"])

    @property
    def raw_score(self) -> float | None:
        """The same before calibration, 0 to 1; None in results of old services."""
        return self.json.get("raw_score")

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) in pixels of the image; x1 and y1 are exclusive."""
        x0, y0, x1, y1 = self.json["box"]
        return x0, y0, x1, y1

    @property
    def area(self) -> int:
        """Pixels in the mask; 0 if there is no mask."""
        return int(self.json["area"])

    @property
    def rle(self) -> Json | None:
        """The mask as COCO has it: `size` and `counts`, for `pycocotools.mask.decode`. None if there is no mask.

        Raises:
            MaskUnavailable: the job was submitted with other formats only.
        """
        return self._mask("rle")

    @property
    def mask(self) -> numpy.typing.NDArray[numpy.bool_] | None:
        """The mask as bool[height, width] of the whole image. None if there is none: the model gave only a box.

        It is made each time it is asked for, so that a thousand results need little memory.

        Raises:
            MaskUnavailable: the job was submitted with other formats only.
            MissingPackage: numpy is not installed.
        """
        found = self.rle
        return rle.decode(found["counts"], *found["size"]) if found else None

    @property
    def polygons(self) -> list[Json] | None:
        """The mask as outlines, each with `exterior` and `holes`, as lists of (x, y) in pixels. None if there is none.

        Raises:
            MaskUnavailable: the job was submitted without `mask_format="polygon"`.
        """
        found = self._mask("polygon")
        return found["polygons"] if found else None

    @property
    def region(self) -> Json | None:
        """The mask as a region with a brush label, for the `result` of a prediction in Label Studio. None if there is
        no mask.

        Raises:
            MaskUnavailable: the job was submitted without `mask_format="labelstudio"`.
        """
        found = self._mask("labelstudio")
        return found["region"] if found else None

    def _mask(self, name: str) -> Json | None:
        masks = [self.json["mask"], *self.json.get("alternate_masks", [])] if self.json["mask"] else []
        found = next((mask for mask in masks if mask["format"] == name), None)
        if masks and not found:
            raise MaskUnavailable(f"the job was submitted without the mask format {name}")
        return cast("Json | None", found)


class Segments(Sequence[Segment]):
    """The objects of a result, in the order of the model's answer. Empty if it found nothing: that is a success."""

    def __init__(self, job: JobState) -> None:
        """`job`: one that has succeeded, with its result."""
        self.job = job
        """The job as it was when the result was read."""
        self.json: Json = job.json["result"]
        """All that the service said about the result, as in docs/api.md."""
        self._found = [Segment(each) for each in self.json["objects"]]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.job.id}: {list(self)}>"

    @overload
    def __getitem__(self, index: int) -> Segment: ...

    @overload
    def __getitem__(self, index: slice) -> list[Segment]: ...

    def __getitem__(self, index: int | slice) -> Segment | list[Segment]:
        return self._found[index]

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._found)

    @property
    def width(self) -> int:
        """Of the image, in pixels."""
        return int(self.json["image"]["width"])

    @property
    def height(self) -> int:
        """Of the image, in pixels."""
        return int(self.json["image"]["height"])

    @property
    def truncated(self) -> bool:
        """Whether objects may be missing, because the model's answer reached its maximum length."""
        return bool(self.json["truncated"])

    @property
    def calibrated(self) -> bool:
        """Whether `score` is a probability."""
        return bool(self.json.get("calibrated"))
