"""Scores of predictions, by the protocol of google-research/big_vision.

Referring expressions (`evaluators/proj/paligemma/transfers/segmentation.py` there): the first 20 tokens of the answer
must be a valid object (4 locations, 16 codes, y1 > y0, x1 > x0), otherwise it counts as IoU 0 and as invalid. Boxes are
compared in 0..1 (v / 1023) and count as correct from an IoU of 0.5 or 0.75. Masks are compared in pixels of the
original image. One difference: big_vision truncates box edges to pixels; here they are rounded to the nearest pixel, as
clients get them. A test limits the effect of this.

Prompts that name several objects (our extension): every true object counts. True and predicted objects of the same
label are matched one to one so that the sum of mask IoUs is largest (Hungarian method). A true object without a match
counts as IoU 0 and as invalid. A predicted object without a match is counted separately, as extra.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco
from scipy.optimize import linear_sum_assignment

from evaluation.example import Box, DataError, Example, Rle, TrueObject
from shared.domain.paligemma import BEGINS_WITH_OBJECT, to_coordinate
from shared.domain.result import SegmentationResult
from worker.stages.parse import parse_answer


@dataclass(frozen=True)
class PredictedObject:
    """One object of a prediction."""

    label: str
    box: Box
    mask: Rle


@dataclass(frozen=True)
class ObjectScore:
    """Scores of one true object."""

    example: str
    """Id of the example."""
    prompt: str
    label: str
    valid: bool
    """Whether a predicted object was matched to it."""
    iou: float = 0.0
    box_iou: float = 0.0
    box_error: float | None = None
    """Mean error of the four edges, in 0..1 of the image side. None without a match."""


@dataclass(frozen=True)
class ExampleScore:
    """An example with its scores."""

    example: Example
    objects: list[ObjectScore]
    extra: int
    """Number of predicted objects without a match."""


def score(example: Example, result: SegmentationResult | None) -> ExampleScore:
    """Compare a prediction with the ground truth. No result counts as an invalid prediction.

    Raises:
        DataError: the image differs in size from its annotation.
    """
    predictions = predicted_objects(result) if result else []
    if example.refers_to_one:
        begins_well = result is not None and BEGINS_WITH_OBJECT.match(result.raw_text) is not None
        predictions = [_as_written(predictions[0], result)] if begins_well and predictions and result else []
        pairs = dict(zip(range(len(example.ground_truth)), predictions, strict=False))
    else:
        pairs = _match(example, predictions)
    objects = [_score_one(example, truth, pairs.get(index)) for index, truth in enumerate(example.ground_truth)]
    return ExampleScore(example, objects, len(predictions) - len(pairs))


def predicted_objects(result: SegmentationResult) -> list[PredictedObject]:
    """Objects that have a mask, as clients get them."""
    width, height = result.image.width, result.image.height
    predictions = []
    for found in result.objects:
        x0, y0, x1, y1 = found.box
        if found.rle:
            mask = found.rle.model_dump(include={"size", "counts"})
            box = (y0 / height, x0 / width, y1 / height, x1 / width)
            predictions.append(PredictedObject(found.name.casefold(), box, mask))
    return predictions


def _as_written(first: PredictedObject, result: SegmentationResult) -> PredictedObject:
    """The first object with the box that the model wrote, which is finer than pixels. The answer begins with it."""
    y0, x0, y1, x1 = map(to_coordinate, parse_answer(result.raw_text, []).detections[0].box_yxyx)
    return replace(first, box=(y0, x0, y1, x1))


def _match(example: Example, predictions: list[PredictedObject]) -> dict[int, PredictedObject]:
    """The predicted object that is matched to each true object, by index of the true object."""
    pairs: dict[int, PredictedObject] = {}
    for label in {truth.label.casefold() for truth in example.ground_truth}:
        true = [index for index, truth in enumerate(example.ground_truth) if truth.label.casefold() == label]
        named = [prediction for prediction in predictions if prediction.label == label]
        overlaps = mask_ious([example.ground_truth[index].mask for index in true], [each.mask for each in named])
        rows, columns = linear_sum_assignment(overlaps, maximize=True)
        pairs |= {true[row]: named[column] for row, column in zip(rows, columns, strict=True)}
    return pairs


def right_objects(example: Example, result: SegmentationResult, least_iou: float) -> list[bool]:
    """For each object of a result: whether it is matched to a true object, with at least this IoU. An object without a
    mask is not."""
    predictions = predicted_objects(result)
    right = {
        id(prediction)
        for index, prediction in _match(example, predictions).items()
        if mask_ious([example.ground_truth[index].mask], [prediction.mask])[0, 0] >= least_iou
    }
    with_mask = iter(predictions)
    return [found.rle is not None and id(next(with_mask)) in right for found in result.objects]


def mask_ious(truths: list[Rle], predictions: list[Rle]) -> npt.NDArray[np.float64]:
    """float64[true objects, predicted objects]: intersection over union of masks of one image.

    Raises:
        DataError: the masks differ in size.
    """
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


def _score_one(example: Example, truth: TrueObject, predicted: PredictedObject | None) -> ObjectScore:
    if predicted is None:
        return ObjectScore(example.id, example.prompt, truth.label, valid=False)
    return ObjectScore(
        example.id,
        example.prompt,
        truth.label,
        valid=True,
        iou=float(mask_ious([truth.mask], [predicted.mask])[0, 0]),
        box_iou=box_iou(predicted.box, truth.box),
        box_error=float(np.abs(np.subtract(predicted.box, truth.box)).mean()),
    )
