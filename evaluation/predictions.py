"""Predictions on disk, one a line, so that an interrupted run continues where it stopped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from tqdm import tqdm

from evaluation.example import DataError, Example
from evaluation.predictor import NoPrediction, Predictor
from shared.domain.result import SegmentationResult


class Setup(BaseModel):
    """Data set and predictor: the first line of the file. A file never mixes predictions of two setups."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    predictor: str


class Prediction(BaseModel):
    """What the predictor returned for an example."""

    model_config = ConfigDict(frozen=True)

    id: str
    """Id of the example."""
    prompt: str
    result: SegmentationResult | None
    error: str | None = None
    """Why there is no result."""


def collect_predictions(
    examples: Sequence[Example], predictor: Predictor, file: Path, setup: Setup, in_flight: int
) -> dict[str, Prediction]:
    """Predict the examples that `file` lacks, `in_flight` at a time. Returns all predictions by example id.

    Raises:
        DataError: the file holds predictions of another setup.
    """
    known = _read(file, setup)
    missing = [example for example in examples if example.id not in known]

    def predict(example: Example) -> Prediction:
        try:
            return Prediction(id=example.id, prompt=example.prompt, result=predictor(example))
        except NoPrediction as error:
            return Prediction(id=example.id, prompt=example.prompt, result=None, error=str(error))

    with (
        file.open("a", encoding="utf-8") as lines,
        ThreadPoolExecutor(in_flight) as pool,
        tqdm(total=len(examples), initial=len(examples) - len(missing), unit="example", disable=None) as bar,
    ):
        try:
            for prediction in pool.map(predict, missing):
                lines.write(prediction.model_dump_json() + "\n")
                lines.flush()
                known[prediction.id] = prediction
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # otherwise the exit would wait for all remaining examples
            raise
    return {example.id: known[example.id] for example in examples}


def _read(file: Path, setup: Setup) -> dict[str, Prediction]:
    """Read the predictions in `file`. Creates it if it is missing, and removes an incomplete last line from it."""
    if not file.exists():
        file.write_text(setup.model_dump_json() + "\n", "utf-8")
    head, *lines = file.read_text("utf-8").splitlines(keepends=True)
    if head != setup.model_dump_json() + "\n":
        raise DataError(f"{file} holds predictions for another data set or of another model: choose another --out")
    predictions = {prediction.id: prediction for prediction in _complete(lines)}
    file.write_text(head + "".join(each.model_dump_json() + "\n" for each in predictions.values()), "utf-8")
    return predictions


def _complete(lines: list[str]) -> Iterator[Prediction]:
    for line in lines:
        try:
            yield Prediction.model_validate_json(line)
        except ValidationError:
            continue
