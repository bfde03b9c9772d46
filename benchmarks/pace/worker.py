"""The real worker with a device that sleeps: all of `worker.build` but the model. `PACE_SIDE` is the side of its images
in pixels."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from benchmarks.pace.device import PATCH, slept_engine
from shared.process import entry_point
from shared.registry import served_model
from shared.settings import Settings
from worker.app import run_worker
from worker.build import limit_threads, set_up_libraries
from worker.engine_model import EngineModel
from worker.job_processes.processes import in_processes
from worker.loading.checkpoint import load_checkpoint
from worker.service import WorkerService
from worker.stages.preprocess import Preprocessor


def start_paced(
    settings: Settings, notify_worker: Callable[[], None], notify_webhooks: Callable[[str], None]
) -> WorkerService:
    """Start a worker's service. Arguments as in `WorkerService`."""
    set_up_libraries()
    side = int(os.environ["PACE_SIDE"])
    checkpoint = load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)
    limit_threads(checkpoint.model)
    checkpoint.codec.warm_up()
    tokenizer = checkpoint.processor.tokenizer
    engine = slept_engine(side, tokenizer)
    preprocessor = Preprocessor(processor_of_side(checkpoint.processor, side), settings.engine.max_prompt_tokens)
    model = EngineModel(preprocessor, engine, tokenizer, checkpoint.codec)
    jobs = in_processes(model, settings, checkpoint.calibration)
    name = served_model(settings.model).name
    service = WorkerService.connect(settings, name, jobs, engine, notify_worker, notify_webhooks)
    service.start()
    return service


def processor_of_side(processor: Any, side: int) -> Any:
    """The processor of the demo checkpoint with the sizes of an official one."""
    return SimpleNamespace(
        image_processor=SimpleNamespace(size={"height": side}),
        image_token=processor.image_token,
        image_seq_length=(side // PATCH) ** 2,
        tokenizer=processor.tokenizer,
    )


if __name__ == "__main__":
    entry_point.run(lambda: run_worker(start_paced))
