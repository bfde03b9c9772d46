"""Scores as figures: JSON for programs, a table for people, and one line of CSV for every object."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from evaluation.scoring import ObjectScore, Scored

Figures: TypeAlias = dict[str, float]

_DIGITS = 4
_MEANING = {
    "miou": "mean IoU of masks, invalid as 0",
    "box_accuracy_50": "boxes with an IoU of at least 0.5",
    "box_accuracy_75": "boxes with an IoU of at least 0.75",
    "invalid": "objects without a valid answer",
    "total": "objects asked for",
    "miou_one_thing": "mean IoU where the prompt names one thing",
    "miou_several_things": "mean IoU where it names several",
    "box_error_median": "median distance of an edge, as a share of the side",
    "extra": "objects in answers that are not there",
    "absent": "questions about what is not there",
    "absent_right": "share of them answered with nothing",
    "questions": "questions asked",
    "failed": "questions without an answer at all",
    "upper_bound": "mean IoU of the truth itself as tokens: no answer could do better",
}


def figures(scored: Sequence[Scored], failed: int) -> Figures:
    """The figures of a run; those that nothing was measured for are left out."""
    objects = [each for question in scored for each in question.objects]
    absent = [question for question in scored if not question.question.truths]
    found: Figures = {"questions": len(scored), "failed": failed, "total": len(objects)}
    if objects:
        found |= _of_objects(objects) | {"extra": sum(each.extra for each in scored)}
    if absent:
        found |= {"absent": len(absent), "absent_right": float(np.mean([not each.extra for each in absent]))}
    return {name: round(found[name], _DIGITS) for name in _MEANING if name in found}


def _of_objects(objects: Sequence[ObjectScore]) -> Figures:
    ious, boxes = np.array([each.iou for each in objects]), np.array([each.box_iou for each in objects])
    several = np.array([";" in each.prompt for each in objects])
    errors = [each.box_error for each in objects if each.box_error is not None]
    found = {
        "miou": float(ious.mean()),
        "box_accuracy_50": float((boxes >= 0.5).mean()),
        "box_accuracy_75": float((boxes >= 0.75).mean()),
        "invalid": sum(not each.valid for each in objects),
    }
    if several.any() and not several.all():
        found |= {"miou_one_thing": float(ious[~several].mean()), "miou_several_things": float(ious[several].mean())}
    return found | ({"box_error_median": float(np.median(errors))} if errors else {})


def as_table(found: Figures) -> str:
    """A line for each figure."""
    width = max(map(len, found))
    return "\n".join(f"{name.ljust(width)}  {value:>10g}  {_MEANING[name]}" for name, value in found.items())


def write_objects(scored: Sequence[Scored], path: Path) -> None:
    """CSV, one line for each true object."""
    names = [field.name for field in dataclasses.fields(ObjectScore)]
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(names)
        rows.writerows(dataclasses.astuple(each) for question in scored for each in question.objects)
