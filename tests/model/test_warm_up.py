"""When an engine has been warmed up, no job needs a shape that has not run, and answers are as without."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from PIL import Image

from scenes.scene import HELD_OUT_SEEDS, draw_scene
from shared.errors import CheckpointError
from shared.settings import Settings
from worker.build import start_engine
from worker.engine.engine import Engine
from worker.engine.failures import StepOutOfMemory
from worker.engine.model_input import ModelInput
from worker.engine.runner import Runner, StepShape
from worker.engine.scheduler import Scheduler
from worker.loading.checkpoint import Checkpoint
from worker.stages.preprocess import Preprocessor


class RecordedGraphs:
    """Runs what graphs would capture, and records the shapes, as on CUDA."""

    are_captured = True
    made: list[StepShape]

    def __init__(self, device: torch.device) -> None:
        self.made = RecordedGraphs.made = []

    def run(self, shape: StepShape, function: Callable[[], None]) -> None:
        if shape not in self.made:
            self.made.append(shape)
        function()


@pytest.fixture
def with_graphs(monkeypatch: pytest.MonkeyPatch) -> list[StepShape]:
    monkeypatch.setattr("worker.engine.runner.CudaGraphs", RecordedGraphs)
    RecordedGraphs.made = []
    return RecordedGraphs.made


def _inputs(demo: Checkpoint, count: int) -> list[ModelInput]:
    prompts = ["segment red circle", "segment " + " ; ".join(["blue star"] * 9), "segment a thing of no known kind"]
    preprocessor = Preprocessor(demo.processor, max_prompt_tokens=512)
    return [
        preprocessor.prepare(Image.fromarray(draw_scene(seed).image), prompts[index % len(prompts)])
        for index, seed in enumerate(HELD_OUT_SEEDS[:count])
    ]


def _answers(engine: Engine, inputs: list[ModelInput]) -> list[list[int]]:
    futures: list[Future] = [engine.submit(each) for each in inputs]  # type: ignore[type-arg]
    return [future.result(120).token_ids for future in futures]


@pytest.mark.slow
@pytest.mark.parametrize(("slots", "force_format"), [(1, True), (3, True), (8, False), (8, True)])
def test_no_job_needs_another_graph(
    demo: Checkpoint, demo_settings: Settings, with_graphs: list[StepShape], slots: int, force_format: bool
) -> None:
    settings = demo_settings.replace(max_batch=slots, force_format=force_format, max_prompt_tokens=300)
    engine = start_engine(demo.model, demo.processor.tokenizer, settings.engine)
    try:
        before = list(RecordedGraphs.made)
        sizes = {1: 1, 3: 3, 8: 4}[slots]  # 1, 2, 4 ... and all slots
        assert len(before) == sizes * len({visible for _, visible, _ in before}) * (2 if force_format else 1)
        _answers(engine, _inputs(demo, 13))
        assert RecordedGraphs.made == before
        assert engine.stats()["feature_cache_hits_total"] == 0
    finally:
        engine.close()


@pytest.mark.slow
def test_answers_are_those_of_an_engine_that_was_not_warmed_up(
    demo: Checkpoint, demo_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = _inputs(demo, 12)
    answers = []
    for is_warm in (True, False):
        if not is_warm:
            monkeypatch.setattr("worker.build.warm_up", lambda runner, **_: None)
        engine = start_engine(demo.model, demo.processor.tokenizer, demo_settings.replace(max_batch=4).engine)
        answers.append(_answers(engine, inputs))
        engine.close()
    assert answers[0] == answers[1]


def test_without_graphs_one_prefill_and_one_step_of_each_head_are_enough(
    demo: Checkpoint, demo_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, int]] = []

    def counted(name: str) -> None:
        run = getattr(Runner, name)

        def count(self: Runner, sequences: list[object]) -> object:
            steps.append((name, len(sequences)))
            return run(self, sequences)

        monkeypatch.setattr(Runner, name, count)

    counted("prefill")
    counted("decode")
    start_engine(demo.model, demo.processor.tokenizer, demo_settings.engine).close()
    assert steps == [("prefill", 1), ("decode", 1), ("decode", 1)]


def test_prefills_of_the_largest_size_are_warmed_up(demo: Checkpoint, with_graphs: list[StepShape]) -> None:
    from worker.engine.grammar import SpecialTokenIds
    from worker.engine.runner import RunnerLimits

    tokenizer = demo.processor.tokenizer
    ids = SpecialTokenIds.of(tokenizer.get_vocab(), tokenizer.eos_token_id)
    runner = Runner(demo.model, ids, RunnerLimits(slots=12, capacity=300), force_format=True)
    assert [runner.prefill_sizes(largest) for largest in (0, 1, 5, 8, 40)] == [
        [1], [1], [1, 2, 4, 5], [1, 2, 4, 8], [1, 2, 4, 8, 12],
    ]  # fmt: skip


def test_steps_that_do_not_fit_the_memory_are_reported_at_the_start(
    demo: Checkpoint, demo_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StepOutOfMemory

    monkeypatch.setattr("worker.build.warm_up", fail)
    with pytest.raises(CheckpointError, match=r"steps of 16 jobs \(MASKQ_MAX_BATCH\).*MASKQ_PREFILL_TOKENS"):
        start_engine(demo.model, demo.processor.tokenizer, demo_settings.engine)


def test_jobs_wait_until_an_engine_is_prepared_and_an_engine_that_fails_refuses_them() -> None:
    from shared.errors import InferenceFailed
    from tests.unit.worker.engine.scripted import ScriptedRunner, job

    runner, scheduler = ScriptedRunner(), Scheduler(2, prefill_tokens=100)
    order: list[object] = []
    engine = Engine(runner, scheduler, max_answer_tokens=9, prepare=lambda: order.append(list(runner.prefills)))
    engine.submit(job(1, length=1)).result(10)
    assert order == [[]]
    assert engine.stuck_s == 0
    engine.close()

    def fail() -> None:
        raise RuntimeError("broken")

    broken = Engine(runner, scheduler, max_answer_tokens=9, prepare=fail)
    with pytest.raises(RuntimeError, match="broken"):
        broken.wait_until_prepared()
    with pytest.raises(InferenceFailed):
        broken.submit(job(1))
    broken.close()


def test_a_warm_runner_has_no_features(demo: Checkpoint) -> None:
    from worker.engine.feature_cache import FeatureCache

    cache = FeatureCache(1_000)
    cache.put(b"a", torch.from_numpy(np.zeros(4, np.float32)))
    cache.get(b"a")
    cache.clear()
    assert (cache.get(b"a"), cache.hits) == (None, 0)
