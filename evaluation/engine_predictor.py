"""A predictor that runs an engine in this process. Importing this module loads torch, transformers and JAX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from evaluation.example import Example
from evaluation.metrics import Metrics
from evaluation.predictions import Setup
from evaluation.predictor import NoPrediction, Predictor, options_for
from evaluation.run import IN_FLIGHT, evaluate
from evaluation.upper_bound import token_upper_bound
from shared.domain.job import JobRequest, MaskFormat
from shared.domain.prompt import normalize_prompt
from shared.domain.result import SegmentationResult
from shared.domain.tiles import AUTO
from shared.errors import MaskqError
from shared.registry import served_model
from shared.settings import Settings
from worker.build import limited_threads, set_up_libraries, start_pipeline
from worker.loading.checkpoint import load_checkpoint
from worker.pipeline import Pipeline
from worker.stages.mask_vqvae import MaskCodec


@contextmanager
def engine_predictor(settings: Settings, tiles: str = AUTO) -> Iterator[tuple[Predictor, MaskCodec]]:
    """Load the model that `settings` name. Yields a predictor and the model's mask codec.

    Raises:
        ConfigurationError: the model cannot be loaded.
    """
    set_up_libraries()
    served = served_model(settings.model)
    checkpoint = load_checkpoint(served, settings.checkpoint, settings.model)
    with limited_threads(checkpoint.model):
        pipeline = start_pipeline(checkpoint, settings.engine, settings.images)
        try:
            yield partial(_predict, pipeline, served.name, tiles), checkpoint.codec
        finally:
            pipeline.close()


def _predict(pipeline: Pipeline, model_id: str, tiles: str, example: Example) -> SegmentationResult:
    try:
        prompt = normalize_prompt(example.prompt)
        options = options_for(example, tiles)
        request = JobRequest.model_validate(
            {"model_id": model_id, "prompt": prompt, "mask_formats": (MaskFormat.RLE,), **options}
        )
        return pipeline.run(request, example.read_image(), lambda: False).result
    except MaskqError as error:
        raise NoPrediction(error.detail) from error


def evaluate_engine(
    examples: Sequence[Example],
    dataset: str,
    settings: Settings,
    folder: Path,
    in_flight: int = IN_FLIGHT,
    tiles: str = AUTO,
    *,
    with_calibration: bool = False,
) -> Metrics:
    """Evaluate the model that `settings` name, in this process; see `evaluate`. Also measures the upper bound.

    Raises:
        DataError: the data set is not in its format, or the folder holds another evaluation.
        ConfigurationError: the model cannot be loaded.
    """
    setup = Setup(dataset=dataset, predictor=f"engine, {settings.model.model_id}")
    with engine_predictor(settings, tiles) as (predictor, codec):
        upper_bound = token_upper_bound(examples, codec)
        return evaluate(examples, setup, predictor, folder, in_flight, upper_bound, with_calibration=with_calibration)
