"""A whole evaluation: predict, score, and write all files into one folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from evaluation.calibrate import calibrate
from evaluation.contact_sheets import worst_first, write_contact_sheet
from evaluation.example import Example
from evaluation.metrics import Metrics, compute_metrics, format_table, write_object_scores
from evaluation.predictions import Setup, collect_predictions
from evaluation.predictor import Predictor
from evaluation.scoring import score

IN_FLIGHT = 8
"""Examples predicted at the same time."""


def evaluate(
    examples: Sequence[Example],
    setup: Setup,
    predictor: Predictor,
    folder: Path,
    in_flight: int = IN_FLIGHT,
    upper_bound: float | None = None,
    *,
    with_calibration: bool = False,
) -> Metrics:
    """Predict and score all examples. Returns the metrics, with `upper_bound` among them if it is known.

    `with_calibration` also fits a calibration of the scores to them, and writes calibration.json and reliability.png.
    Writes predictions.jsonl, metrics.json, metrics.txt, objects.csv, worst.png and samples.png into `folder`.

    Raises:
        DataError: the data set is not in its format, or the folder holds another evaluation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    predictions = collect_predictions(examples, predictor, folder / "predictions.jsonl", setup, in_flight)
    scores = [score(example, predictions[example.id].result) for example in examples]
    metrics = compute_metrics(scores, failed=sum(each.result is None for each in predictions.values()))
    if upper_bound is not None:
        metrics["upper_bound"] = round(upper_bound, 4)
    report: dict[str, object] = {**setup.model_dump(), "metrics": metrics}
    if with_calibration:
        report["calibration"] = calibrate(examples, predictions, f"{len(examples)} examples: {setup.dataset}", folder)
    (folder / "metrics.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    (folder / "metrics.txt").write_text(format_table(metrics) + "\n", "utf-8")
    write_object_scores(scores, folder / "objects.csv")
    write_contact_sheet(worst_first(scores), predictions, folder / "worst.png")
    write_contact_sheet(scores, predictions, folder / "samples.png")
    return metrics
