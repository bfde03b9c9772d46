"""How answers are scored: the protocol of google-research/big_vision.

Theirs (`evaluators/proj/paligemma/transfers/segmentation.py`), for referring expressions: the first 20 tokens of an
answer must be a valid object (4 locations, 16 codes, y1 > y0, x1 > x0), else it counts as IoU 0 and as invalid. Boxes
are compared in 0..1 (v / 1023) and are right from an IoU of 0.5 or 0.75 on; masks in the pixels of the original image.
One difference: box edges are rounded to the nearest pixel, as clients get them, where theirs are cut off; a test holds
how little that changes.

Ours, for prompts that name several objects: every object that is really there counts. Those of a label are matched one
to one with the answer's objects of that label so that the sum of mask IoUs is largest (Hungarian method); without a
partner an object counts as IoU 0 and as invalid. What the answer holds beyond that is counted as extra, apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco
from scipy.optimize import linear_sum_assignment

from evaluation.example import Box, DataError, Question, Rle, Truth
from shared.domain.paligemma import BEGINS_WITH_OBJECT, to_coordinate
from shared.domain.result import SegmentationResult
from worker.stages.parse import parse_answer


@dataclass(frozen=True)
class Prediction:
    """An object of an answer."""

    label: str
    box: Box
    mask: Rle


@dataclass(frozen=True)
class ObjectScore:
    """How one true object was answered."""

    question: str
    prompt: str
    label: str
    valid: bool
    iou: float = 0.0
    box_iou: float = 0.0
    box_error: float | None = None
    """Mean distance of the four edges, as a share of the side."""


@dataclass(frozen=True)
class Scored:
    """A question with its scores."""

    question: Question
    objects: list[ObjectScore]
    extra: int
    """Objects of the answer that are no true ones."""


def score(question: Question, result: SegmentationResult | None) -> Scored:
    """Hold an answer against the truth. No result at all counts as an invalid answer.

    Raises:
        DataError: the image has another size than its annotation says.
    """
    predictions = predictions_of(result) if result else []
    if question.refers_to_one:
        begins_well = result is not None and BEGINS_WITH_OBJECT.match(result.raw_text) is not None
        predictions = predictions[:1] if begins_well else []
        pairs = dict(zip(range(len(question.truths)), predictions, strict=False))
    else:
        pairs = _match(question, predictions)
    objects = [_score_one(question, truth, pairs.get(index)) for index, truth in enumerate(question.truths)]
    return Scored(question, objects, len(predictions) - len(pairs))


def predictions_of(result: SegmentationResult) -> list[Prediction]:
    """Objects with a mask; their boxes as the model wrote them, which is finer than pixels."""
    written = parse_answer(result.raw_text, [], truncated=result.truncated).detections
    predictions = []
    for found, detection in zip(result.objects, written, strict=True):
        y0, x0, y1, x1 = map(to_coordinate, detection.box_yxyx)
        if found.rle:
            mask = found.rle.model_dump(include={"size", "counts"})
            predictions.append(Prediction(found.label.casefold(), (y0, x0, y1, x1), mask))
    return predictions


def _match(question: Question, predictions: list[Prediction]) -> dict[int, Prediction]:
    """Which prediction answers which true object, by number."""
    pairs: dict[int, Prediction] = {}
    for label in {truth.label.casefold() for truth in question.truths}:
        true = [index for index, truth in enumerate(question.truths) if truth.label.casefold() == label]
        named = [prediction for prediction in predictions if prediction.label == label]
        overlaps = mask_ious([question.truths[index].mask for index in true], [each.mask for each in named])
        rows, columns = linear_sum_assignment(overlaps, maximize=True)
        pairs |= {true[row]: named[column] for row, column in zip(rows, columns, strict=True)}
    return pairs


def mask_ious(truths: list[Rle], predictions: list[Rle]) -> npt.NDArray[np.float64]:
    """float64[truths, predictions]: intersection over union of masks of one image."""
    if not truths or not predictions:
        return np.zeros((len(truths), len(predictions)))
    sizes = {tuple(mask["size"]) for mask in (*truths, *predictions)}
    if len(sizes) > 1:
        raise DataError(f"image and annotation differ in size (height, width): {sizes}")
    ious: npt.NDArray[np.float64] = np.asarray(coco.iou(predictions, truths, [0] * len(truths))).T
    return ious


def box_iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes in 0..1."""
    shared = _area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))
    return shared / (_area(one) + _area(other) - shared)


def _area(box: Box) -> float:
    y0, x0, y1, x1 = box
    return max(y1 - y0, 0.0) * max(x1 - x0, 0.0)


def _score_one(question: Question, truth: Truth, answer: Prediction | None) -> ObjectScore:
    if answer is None:
        return ObjectScore(question.id, question.prompt, truth.label, valid=False)
    return ObjectScore(
        question.id,
        question.prompt,
        truth.label,
        valid=True,
        iou=float(mask_ious([truth.mask], [answer.mask])[0, 0]),
        box_iou=box_iou(answer.box, truth.box),
        box_error=float(np.abs(np.subtract(answer.box, truth.box)).mean()),
    )
