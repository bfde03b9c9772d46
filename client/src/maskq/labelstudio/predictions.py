"""One prediction for one task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskq.async_client import AsyncClient
from maskq.images import ImageInput
from maskq.labelstudio.images import Images
from maskq.labelstudio.problems import NoPrediction
from maskq.labelstudio.project_config import BRUSH, POLYGON, Control, ProjectConfig
from maskq.labelstudio.prompting import Question
from maskq.labelstudio.protocol import Task, prediction
from maskq.labelstudio.regions import region, region_values
from maskq.phrases import prompt_of, prompts_of
from maskq.submission import SubmitOptions
from maskq.typed import Json

_FORMATS = {BRUSH: "labelstudio", POLYGON: "polygon"}
"""The mask format that the service makes for a kind of tag."""


@dataclass(frozen=True)
class Found:
    """The regions of one image, and the scores of the objects they are of."""

    regions: Sequence[Json]
    scores: Sequence[float]
    model_version: str


class Predictions:
    """Makes predictions with a maskq service."""

    def __init__(self, maskq: AsyncClient, images: Images, options: SubmitOptions) -> None:
        """`options`: of every job."""
        self._maskq = maskq
        self._images = images
        self._options = options

    async def of(self, task: Task, config: ProjectConfig, question: Question) -> Json:
        """The prediction for a task.

        Raises:
            NoPrediction: the config asks for nothing that can be done, or the image cannot be had.
            MaskqError: the service has no result.
        """
        if not config.controls:
            raise NoPrediction("the labeling config has no brush, polygon or rectangle labels for an image")
        found = [
            await self._ask(await self._images.fetch(image.value_in(task.data), task), task, controls, question, asked)
            for image in config.images
            for controls in [config.for_image(image)]
            for asked in prompts_of(question.phrases)
        ]
        regions = [each for part in found for each in part.regions]
        return prediction(regions, [score for part in found for score in part.scores], found[-1].model_version)

    async def _ask(
        self, image: ImageInput, task: Task, controls: Sequence[Control], question: Question, asked: Sequence[str]
    ) -> Found:
        kinds = {each.kind for each in controls}
        formats = ["rle", *(name for kind, name in _FORMATS.items() if kind in kinds)]
        options: SubmitOptions = {**self._options, "mask_format": formats, "ref": f"task-{task.id}"[:200]}
        if question.is_urgent:
            options["priority"] = "high"
        result = await self._maskq.segment(image, prompt_of(asked), **options)
        regions: list[Json] = []
        scores: dict[int, float] = {}
        for control in controls:
            for number, found in enumerate(result):
                label = question.label_for(control, found.name, asked)
                if label is None or found.score < control.min_score:
                    continue
                values = region_values(found, result, control.kind)
                ids = [f"{result.job.id}-{number}-{control.name}-{part}" for part in range(len(values))]
                regions += [region(i, control, label, found, result, v) for i, v in zip(ids, values, strict=True)]
                scores.update({number: found.score} if values else {})
        return Found(regions, list(scores.values()), result.job.model_id)
