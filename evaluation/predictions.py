"""Answers on disk, one line each, so that a run that was cut off goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from tqdm import tqdm

from evaluation.example import DataError, Question
from evaluation.predictors import NoPrediction, Predictor
from shared.domain.result import SegmentationResult


class Setup(BaseModel):
    """What is asked and of whom: the first line of the file. Answers of another setup are never mixed in."""

    model_config = ConfigDict(frozen=True)

    data: str
    asked: str


class Answer(BaseModel):
    """What came back for a question."""

    model_config = ConfigDict(frozen=True)

    id: str
    prompt: str
    result: SegmentationResult | None
    error: str | None = None
    """Why there is no result."""


def collect_answers(
    questions: Sequence[Question], predictor: Predictor, file: Path, setup: Setup, in_flight: int
) -> dict[str, Answer]:
    """Ask what `file` has no answer to yet, several questions at a time; returns all answers by question.

    Raises:
        DataError: the file holds answers of another setup.
    """
    known = _read(file, setup)
    missing = [question for question in questions if question.id not in known]

    def ask(question: Question) -> Answer:
        try:
            return Answer(id=question.id, prompt=question.prompt, result=predictor(question))
        except NoPrediction as error:
            return Answer(id=question.id, prompt=question.prompt, result=None, error=str(error))

    with (
        file.open("a", encoding="utf-8") as lines,
        ThreadPoolExecutor(in_flight) as pool,
        tqdm(total=len(questions), initial=len(questions) - len(missing), unit="question", disable=None) as bar,
    ):
        try:
            for answer in pool.map(ask, missing):
                lines.write(answer.model_dump_json() + "\n")
                lines.flush()
                known[answer.id] = answer
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # else the end would wait for every question that is left
            raise
    return {question.id: known[question.id] for question in questions}


def _read(file: Path, setup: Setup) -> dict[str, Answer]:
    """The answers in `file`, which is begun if it is not there; a line that was cut off is dropped from it."""
    if not file.exists():
        file.write_text(setup.model_dump_json() + "\n", "utf-8")
    head, *lines = file.read_text("utf-8").splitlines(keepends=True)
    if head != setup.model_dump_json() + "\n":
        raise DataError(f"{file} holds answers to other questions or of another model: choose another --out")
    answers = {answer.id: answer for answer in _whole(lines)}
    file.write_text(head + "".join(answer.model_dump_json() + "\n" for answer in answers.values()), "utf-8")
    return answers


def _whole(lines: list[str]) -> Iterator[Answer]:
    for line in lines:
        try:
            yield Answer.model_validate_json(line)
        except ValidationError:
            continue
