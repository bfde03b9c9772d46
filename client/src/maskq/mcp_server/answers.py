"""What the tools answer: pictures for models that see, and values with a schema for programs."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcp.types import CallToolResult, ContentBlock, ImageContent, TextContent
from pydantic import BaseModel, Field

from maskq.packages import require
from maskq.result import BaseResult

if TYPE_CHECKING:
    import PIL.Image

_OVERLAY_PX = 1024
"""Longest side of an overlay in an answer. Hosts refuse answers of more than about 1 MB."""
_JPEG_QUALITY = 85


class FoundObject(BaseModel):
    """One object."""

    number: int = Field(description="Position in the result, from 0.")
    label: str | None = Field(description="The phrase of the prompt that it answers.")
    score: float = Field(description="How sure the model is, 0 to 1.")
    box: tuple[int, int, int, int] = Field(
        description="x0, y0, x1, y1 in pixels of the image; x1 and y1 are exclusive."
    )
    area: int = Field(description="Pixels in the mask; 0 if the model gave only a box.")


class Segmentation(BaseModel):
    """The objects that were found in one image."""

    job: str = Field(description="For `get_masks`.")
    width: int = Field(description="Of the image, in pixels.")
    height: int = Field(description="Of the image, in pixels.")
    objects: list[FoundObject] = Field(description="Empty if the image has nothing of the kind.")
    truncated: bool = Field(description="Whether there may be more objects than these.")

    @classmethod
    def of(cls, result: BaseResult) -> Segmentation:
        """The objects of a result."""
        objects = [
            FoundObject(number=number, label=each.label, score=each.score, box=each.box, area=each.area)
            for number, each in enumerate(result)
        ]
        size = {"width": result.width, "height": result.height}
        return cls(job=result.job.id, objects=objects, truncated=result.truncated, **size)


class ServedModel(BaseModel):
    """A model of the service."""

    id: str
    about: str
    resolution: int | None = Field(description="Side of its square input, in pixels.")
    live_workers: int = Field(description="Workers that serve it now. 0: jobs for it wait.")


class ServedModels(BaseModel):
    """The models of the service."""

    models: list[ServedModel] = Field(description="The default first.")


def answer_of(value: Mapping[str, Any], *pictures: ImageContent) -> CallToolResult:
    """Pictures, and a value both as structured content and as text: not every host gives models the former."""
    text = TextContent(type="text", text=json.dumps(value, ensure_ascii=False))
    content: list[ContentBlock] = [*pictures, text]
    return CallToolResult(content=content, structured_content=dict(value))


def overlay_picture(overlay: PIL.Image.Image) -> ImageContent:
    """An overlay as JPEG, scaled down to what a model looks at."""
    overlay.thumbnail((_OVERLAY_PX, _OVERLAY_PX))
    return _picture(overlay.convert("RGB"), "JPEG", quality=_JPEG_QUALITY)


def mask_pictures(result: BaseResult) -> list[ImageContent]:
    """The masks as black and white PNGs of the image's size, in the order of the objects that have one."""
    image = require("PIL.Image", "mcp")
    masks = [each.mask for each in result]
    return [_picture(image.fromarray(mask), "PNG") for mask in masks if mask is not None]


def _picture(picture: PIL.Image.Image, file_format: str, **options: int) -> ImageContent:
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    data = base64.b64encode(file.getvalue()).decode()
    return ImageContent(type="image", data=data, mime_type=f"image/{file_format.lower()}")
