"""The result of a job: the objects found, their masks, and the model's answer."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from shared.domain.brush import BrushRegion, ControlTags
from shared.domain.job import Job, MaskFormat


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class RleMask(_Part):
    """COCO compressed run lengths of the whole image: the input of `pycocotools.mask.decode`."""

    format: Literal[MaskFormat.RLE] = MaskFormat.RLE
    size: tuple[int, int] = Field(description="[height, width] of the uploaded image, in pixels.")
    counts: str


Ring = list[tuple[float, float]]
"""A closed line (the usual term for polygons): its corners as (x, y) in pixels. The last connects to the first."""


class Polygon(_Part):
    """One connected part of a mask, and the holes in it."""

    exterior: Ring
    holes: list[Ring]


class PolygonMask(_Part):
    """Outlines in pixels of the uploaded image. (0, 0) is the outer corner of its top left pixel."""

    format: Literal[MaskFormat.POLYGON] = MaskFormat.POLYGON
    polygons: list[Polygon]


class PngMask(_Part):
    """A base64 PNG: `png` is the mask at full size, `crop` the soft mask of the box (0 outside ... 255 inside)."""

    format: Literal[MaskFormat.PNG, MaskFormat.CROP]
    size: tuple[int, int] = Field(description="[height, width] of the PNG, in pixels.")
    data: str = Field(description="Base64 of the PNG file.")


class BrushMask(_Part):
    """A mask as a region with a brush label, for the `result` of a prediction in Label Studio."""

    format: Literal[MaskFormat.LABELSTUDIO] = MaskFormat.LABELSTUDIO
    region: BrushRegion = Field(description="With the `from_name` and the `to_name` of the submission.")


Mask = Annotated[RleMask | PolygonMask | PngMask | BrushMask, Field(discriminator="format")]


Label = Annotated[str | None, BeforeValidator(lambda label: label or None)]
"""The name of an object; None, never empty, if the model gave none and the request does not decide it."""
UNKNOWN = "unknown"
"""Stands for a missing label where a tool needs a text."""


class SegmentedObject(_Part):
    """One object the model found."""

    label: Label = Field(
        description="The model's name for the object, usually one of the requested phrases; null if it gave none."
    )
    score: float = Field(
        ge=0,
        le=1,
        description="Probability that the object is right, if the result is `calibrated`; else `raw_score`.",
    )
    raw_score: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Geometric mean of the probabilities of the object's location tokens; null in older results.",
    )
    box: tuple[int, int, int, int] = Field(description="[x0, y0, x1, y1] in pixels, x1 and y1 exclusive.")
    area: int = Field(ge=0, description="Pixels in the mask; 0 if there is no mask.")
    mask: Mask | None = Field(description="In the first requested format; null if the model gave only a box.")
    alternate_masks: list[Mask] = Field(default=[], description="The same mask in the other requested formats.")
    merged: int = Field(
        0, ge=0, description="Further detections that are this object: repeats by the model, and views in other tiles."
    )

    @property
    def name(self) -> str:
        """The label, or `unknown`, for tools that need a text."""
        return self.label or UNKNOWN

    @property
    def rle(self) -> RleMask | None:
        """The mask for drawing. Stored results always contain this format, even if it was not requested."""
        return next((mask for mask in self._masks if isinstance(mask, RleMask)), None)

    @property
    def _masks(self) -> list[Mask]:
        return [self.mask, *self.alternate_masks] if self.mask else []

    def in_formats(self, formats: Sequence[MaskFormat]) -> SegmentedObject:
        """The object with its masks in these formats only, in this order."""
        by_format = {mask.format: mask for mask in self._masks}
        masks = [by_format[name] for name in formats if name in by_format]
        return self.model_copy(update={"mask": masks[0] if masks else None, "alternate_masks": masks[1:]})

    def with_region(self, region_id: str, tags: ControlTags) -> SegmentedObject:
        """The object with what its region for Label Studio says beside the mask, if it has one. Stored results do not
        have that, because the result of one job may be used again for others."""

        def named(mask: Mask) -> Mask:
            if not isinstance(mask, BrushMask):
                return mask
            return BrushMask(region=mask.region.named(region_id, self.name, self.score, tags))

        others = [named(mask) for mask in self.alternate_masks]
        return self.model_copy(update={"mask": self.mask and named(self.mask), "alternate_masks": others})


class Skipped(_Part):
    """A part of the model's answer that is not an object, and why."""

    reason: str
    text: str


class LeftOutReason(StrEnum):
    """Why an object is not among the objects of a result."""

    BELOW_THRESHOLD = "below_score_threshold"
    """Its score is below the `score_threshold` of the request."""
    CUT_BY_TILE = "cut_by_tile"
    """It reaches the edge of a tile, and neither the next tile nor the whole picture shows it: most are mistakes."""


class LeftOut(_Part):
    """An object that the model found and the result leaves out, and why."""

    reason: LeftOutReason
    label: Label
    score: float
    box: tuple[int, int, int, int] = Field(description="[x0, y0, x1, y1] in pixels, x1 and y1 exclusive.")


class ImageSize(_Part):
    """Size of the uploaded image after EXIF rotation, in pixels."""

    width: int
    height: int


class SegmentationResult(_Part):
    """The result of a job that succeeded."""

    image: ImageSize
    objects: list[SegmentedObject] = Field(
        description="In the order of the model's answer, then those that only tiles show; empty if it found nothing."
    )
    skipped: list[Skipped]
    left_out: list[LeftOut] = Field([], description="Objects that were found and left out, each with a reason.")
    truncated: bool = Field(description="The answer reached its maximum length, so objects may be missing.")
    raw_text: str = Field(
        description="The model's answer, unchanged. With tiles: one line for the whole picture, then one for each tile."
    )
    tiles: str = Field("1", description="The tiles that the picture was cut into: `1`, or COLUMNSxROWS.")
    calibrated: bool = Field(False, description="Whether `score` is a calibrated probability.")
    notes: list[str] = Field(
        default=[], description="What to know about the image file, such as that it was cut short."
    )

    def of_job(self, job: Job) -> SegmentationResult:
        """The result as the client of this job asked for it: masks in its formats only, regions with its names."""
        objects = [
            found.in_formats(job.request.mask_formats).with_region(job.region_id(number), job.request.control_tags)
            for number, found in enumerate(self.objects)
        ]
        return self.model_copy(update={"objects": objects})
