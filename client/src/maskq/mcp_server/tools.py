"""The tools that agents call. Their docstrings and descriptions are what an agent reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any, Literal

from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import CallToolResult, ImageContent
from pydantic import Field

from maskq.async_client import AsyncClient
from maskq.async_job import AsyncResult
from maskq.errors import MaskqError, RequestError, WaitTimeout
from maskq.mcp_server.answers import (
    Segmentation,
    ServedModel,
    ServedModels,
    answer_of,
    mask_pictures,
    overlay_picture,
)
from maskq.mcp_server.images import NamedImages
from maskq.submission import SubmitOptions

_WAIT_S = 50.0
"""How long a tool waits for a job. Hosts commonly stop waiting for a tool at 60 s."""

_Image = Annotated[
    str, Field(description="Path of an image file in a folder that the user allowed, or an http, https or data: URL.")
]
_Prompt = Annotated[
    str,
    Field(
        description="What to cut out, in a few plain English words: `cat`, `red car`, `person on the left`. Several"
        " things are separated by semicolons: `cat ; dog`. Name visible things; do not write sentences, questions or"
        " instructions."
    ),
]
_Threshold = Annotated[
    float | None, Field(ge=0, le=1, description="Leave out objects with a lower score. Default: none is left out.")
]
_ModelId = Annotated[str | None, Field(description="A model of `list_models`. Default: the first one.")]
_JobId = Annotated[str, Field(description="The `job` in the answer of `segment_image`.")]
_Format = Annotated[
    Literal["png", "rle", "coco", "labelstudio"],
    Field(
        description="`png`: one black and white picture for each object. `rle`: COCO's run lengths. `coco`: a COCO data"
        " set of this image. `labelstudio`: a prediction to import into Label Studio."
    ),
]


class Tools:
    """The tools, with what they need."""

    def __init__(self, client: AsyncClient, images: NamedImages) -> None:
        self._client = client
        self._images = images

    async def segment_image(
        self, image: _Image, prompt: _Prompt, score_threshold: _Threshold = None, model_id: _ModelId = None
    ) -> Annotated[CallToolResult, Segmentation]:
        """Find and cut out the objects in an image that a prompt names.

        Answers with the image with the masks drawn over it, and for each object its label, score, box and area. An
        empty list of objects means that the image has no such thing: try a more general word. Masks themselves come
        from `get_masks`.
        """
        options: SubmitOptions = {}
        if score_threshold is not None:
            options["score_threshold"] = score_threshold
        if model_id is not None:
            options["model_id"] = model_id
        with _safe_errors():
            content = await asyncio.to_thread(self._images.read, image)
            result = await self._client.segment(content, prompt, wait_s=_WAIT_S, **options)
            return answer_of(Segmentation.of(result).model_dump(), *await _overlay(result))

    async def get_masks(self, job: _JobId, format: _Format = "png") -> CallToolResult:  # noqa: A002
        """The masks of a job that `segment_image` made, in the order of its objects."""
        with _safe_errors():
            result = await (await self._client.job(job)).result(_WAIT_S)
            if format == "png":
                return answer_of(Segmentation.of(result).model_dump(), *await asyncio.to_thread(mask_pictures, result))
            return answer_of(await _document(result, format))

    async def list_models(self) -> Annotated[CallToolResult, ServedModels]:
        """The models of the service, the default first. Needed only to choose another model than the default."""
        with _safe_errors():
            models = [ServedModel(**asdict(each)) for each in await self._client.models()]
            return answer_of(ServedModels(models=models).model_dump())


async def _overlay(result: AsyncResult) -> list[ImageContent]:
    """The overlay; none, if the service cannot draw it: the objects are worth an answer without it."""
    try:
        overlay = await result.overlay()
    except RequestError:
        return []
    return [await asyncio.to_thread(overlay_picture, overlay)]


async def _document(result: AsyncResult, name: str) -> dict[str, Any]:
    if name == "coco":
        return result.to_coco()
    if name == "labelstudio":
        return await result.to_labelstudio()
    masks = [{"number": number, "label": each.label, "rle": each.rle} for number, each in enumerate(result)]
    return {"job": result.job.id, "masks": masks}


@contextmanager
def _safe_errors() -> Iterator[None]:
    """Errors that an agent can understand. Of all others it learns only that there was one."""
    try:
        yield
    except WaitTimeout as error:
        raise ToolError(f"{error}: ask `get_masks` for job {error.job_id} later") from error
    except MaskqError as error:
        raise ToolError(str(error)) from error
