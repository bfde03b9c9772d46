"""A detection function for CVAT:

    cvat-cli task auto-annotate TASK --function-module maskq.cvat -p prompt=str:"cat ; dog"

Needs cvat-sdk when it is imported.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from maskq.client import Client
from maskq.errors import ConfigurationError, ImageTooLarge, JobUnsuccessful, PayloadTooLarge
from maskq.images import bare
from maskq.job import Result
from maskq.packages import require
from maskq.phrases import key_of, phrases_of, prompt_of
from maskq.polygons import line_around
from maskq.segments import Segment
from maskq.submission import SubmitOptions
from maskq.typed import Unpack

if TYPE_CHECKING:
    import PIL.Image
    from cvat_sdk import auto_annotation, models

_cvat: Any = require("cvat_sdk.auto_annotation", "cvat")
_masks: Any = require("cvat_sdk.masks", "cvat")
_OF_ONE_IMAGE = (JobUnsuccessful, ImageTooLarge, PayloadTooLarge)
"""Errors after which other images may succeed."""
_log = logging.getLogger("maskq.cvat")


def create(prompt: str, labels: str = "", url: str | None = None, **options: Unpack[SubmitOptions]) -> MaskqFunction:
    """The function. CVAT calls this with the parameters of the command line.

    Args:
        prompt: `cat`, or `cat ; dog` for two things.
        labels: the labels of the task that stand for these things, in the same order: `Cat ; Dog`. Default: the things
            as the prompt has them.
        url: of the service. Default: `MASKQ_URL`. The API key is in `MASKQ_API_KEY`.
        options: of every job, as in `Client.segment`.

    Raises:
        ConfigurationError: there are not as many labels as things, or the URL cannot be used.
    """
    things = phrases_of(prompt)
    names = phrases_of(labels) or things
    if not things or len(names) != len(things):
        raise ConfigurationError(f"{len(names)} labels do not fit to the {len(things)} things of the prompt {prompt!r}")
    return MaskqFunction(Client(url), prompt_of(things), dict(zip(map(key_of, things), names, strict=True)), options)


class MaskqFunction:
    """Asks a maskq service for the objects in an image. Masks become masks, or on request polygons."""

    def __init__(self, maskq: Client, prompt: str, labels: dict[str, str], options: SubmitOptions) -> None:
        """`labels`: by the key of each thing in the prompt."""
        self._maskq = maskq
        self._prompt = prompt
        self._options = options
        ids = {name: number for number, name in enumerate(dict.fromkeys(labels.values()))}
        self._label_ids = {thing: ids[name] for thing, name in labels.items()}
        self.spec = _cvat.DetectionFunctionSpec(
            labels=[_cvat.label_spec(name, number, type="mask") for name, number in ids.items()]
        )
        """The labels that the function gives."""

    def detect(
        self, context: auto_annotation.DetectionFunctionContext, image: PIL.Image.Image
    ) -> list[models.LabeledShapeRequest]:
        """The shapes of one image. There are none if its job fails, and the reason is logged.

        Raises:
            MaskqError: no image can be annotated: as `Client.segment`.
        """
        try:
            result = self._segment(context, image)
        except _OF_ONE_IMAGE as error:
            _log.warning("%s has no shapes: %s", context.frame_name, error)
            return []
        return list(chain.from_iterable(self._shapes(each, as_polygons=context.conv_mask_to_poly) for each in result))

    def _segment(self, context: auto_annotation.DetectionFunctionContext, image: PIL.Image.Image) -> Result:
        options: SubmitOptions = {**self._options, "file_name": context.frame_name}
        if context.conf_threshold is not None:
            options["score_threshold"] = context.conf_threshold
        if context.conv_mask_to_poly:
            options["mask_format"] = "polygon"
        return self._maskq.segment(bare(image), self._prompt, **options)

    def _shapes(self, found: Segment, *, as_polygons: bool) -> Iterator[models.LabeledShapeRequest]:
        label_id = self._label_ids.get(key_of(found.label or ""))
        if label_id is None:
            _log.warning("left out %r: the prompt does not name it", found.name)
        elif as_polygons:
            for each in found.polygons or ():
                yield _cvat.polygon(label_id, list(chain.from_iterable(line_around(each))), score=found.score)
        elif (mask := found.mask) is not None:
            yield _cvat.mask(label_id, _masks.encode_mask(mask, found.box), score=found.score)
