"""A whole evaluation: ask, score, write everything into one folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evaluation.contact_sheets import worst_first, write_page
from evaluation.example import Question
from evaluation.metrics import Figures, as_table, figures, write_objects
from evaluation.predictions import Setup, collect_answers
from evaluation.predictors import Predictor, engine_predictor, service_predictor
from evaluation.scoring import score
from evaluation.upper_bound import token_upper_bound
from shared.settings import Settings
from worker.stages.mask_vqvae import MaskCodec

IN_FLIGHT = 8


@dataclass(frozen=True)
class Asked:
    """Who is asked: the service at `url`, or an engine with the model of `settings`."""

    settings: Settings
    url: str | None = None
    model_id: str | None = None
    """The service's own choice if None."""
    key: str | None = None
    """An API key of the service."""

    @property
    def name(self) -> str:
        """For the first line of the answers. Addresses change, models do not."""
        return (
            f"service, {self.model_id or 'its default model'}"
            if self.url
            else f"engine, {self.settings.model.model_id}"
        )

    @contextmanager
    def ready(self) -> Iterator[tuple[Predictor, MaskCodec | None]]:
        """Something that answers, and the engine's mask codec."""
        if self.url:
            with service_predictor(self.url, self.model_id, self.key) as predictor:
                yield predictor, None
        else:
            with engine_predictor(self.settings) as ready:
                yield ready


def evaluate(
    questions: Sequence[Question], data: str, asked: Asked, folder: Path, in_flight: int = IN_FLIGHT
) -> Figures:
    """Ask all questions and write answers, figures, objects.csv, worst.png and samples.png into `folder`.

    Raises:
        DataError: the data are not as they should be, or the folder holds another evaluation.
        ConfigurationError: the model cannot be loaded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    setup = Setup(data=data, asked=asked.name)
    with asked.ready() as (predictor, codec):
        answers = collect_answers(questions, predictor, folder / "answers.jsonl", setup, in_flight)
        upper_bound = token_upper_bound(questions, codec) if codec else None
    scored = [score(question, answers[question.id].result) for question in questions]
    found = figures(scored, failed=sum(answer.result is None for answer in answers.values()))
    if upper_bound is not None:
        found["upper_bound"] = round(upper_bound, 4)
    (folder / "figures.json").write_text(json.dumps({**setup.model_dump(), "figures": found}, indent=2) + "\n", "utf-8")
    (folder / "figures.txt").write_text(as_table(found) + "\n", "utf-8")
    write_objects(scored, folder / "objects.csv")
    write_page(worst_first(scored), answers, folder / "worst.png")
    write_page(scored, answers, folder / "samples.png")
    return found
