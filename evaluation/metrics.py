"""Metrics of a run: as numbers for JSON, as a table for people, and one CSV row for every true object."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np

from evaluation.scoring import ExampleScore, ObjectScore

Metrics: TypeAlias = dict[str, float]

_DIGITS = 4
_MEANING = {
    "miou": "mean IoU of masks; an invalid object counts as 0",
    "box_accuracy_50": "share of boxes with an IoU of at least 0.5",
    "box_accuracy_75": "share of boxes with an IoU of at least 0.75",
    "invalid": "true objects without a valid prediction",
    "total": "true objects",
    "miou_one_phrase": "mean IoU where the prompt has one phrase",
    "miou_several_phrases": "mean IoU where the prompt has several phrases",
    "box_error_median": "median error of a box, in 0..1 of the image side",
    "extra": "predicted objects that are not in the ground truth",
    "absent": "examples whose ground truth is empty",
    "absent_accuracy": "share of those with an empty prediction",
    "examples": "examples",
    "failed": "examples without any prediction",
    "upper_bound": "mean IoU of the ground truth itself as tokens: no prediction could do better",
}


def compute_metrics(scores: Sequence[ExampleScore], failed: int) -> Metrics:
    """The metrics of a run. A metric without data is left out."""
    objects = [each for example in scores for each in example.objects]
    absent = [each for each in scores if not each.example.ground_truth]
    metrics: Metrics = {"examples": len(scores), "failed": failed, "total": len(objects)}
    if objects:
        metrics |= _object_metrics(objects) | {"extra": sum(each.extra for each in scores)}
    if absent:
        metrics |= {"absent": len(absent), "absent_accuracy": float(np.mean([not each.extra for each in absent]))}
    return {name: round(metrics[name], _DIGITS) for name in _MEANING if name in metrics}


def _object_metrics(objects: Sequence[ObjectScore]) -> Metrics:
    ious, boxes = np.array([each.iou for each in objects]), np.array([each.box_iou for each in objects])
    several = np.array([";" in each.prompt for each in objects])
    errors = [each.box_error for each in objects if each.box_error is not None]
    metrics = {
        "miou": float(ious.mean()),
        "box_accuracy_50": float((boxes >= 0.5).mean()),
        "box_accuracy_75": float((boxes >= 0.75).mean()),
        "invalid": sum(not each.valid for each in objects),
    }
    if several.any() and not several.all():
        metrics |= {"miou_one_phrase": float(ious[~several].mean())}
        metrics |= {"miou_several_phrases": float(ious[several].mean())}
    return metrics | ({"box_error_median": float(np.median(errors))} if errors else {})


def format_table(metrics: Metrics) -> str:
    """One line for each metric: name, value, meaning."""
    width = max(map(len, metrics))
    return "\n".join(f"{name.ljust(width)}  {value:>10g}  {_MEANING[name]}" for name, value in metrics.items())


def write_object_scores(scores: Sequence[ExampleScore], path: Path) -> None:
    """Write a CSV file with one row for each true object."""
    names = [field.name for field in dataclasses.fields(ObjectScore)]
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(names)
        rows.writerows(dataclasses.astuple(each) for example in scores for each in example.objects)
