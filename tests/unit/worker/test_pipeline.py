"""The pipeline with a model of prepared answers: one job, however many tiles, and one result."""

from __future__ import annotations

import itertools
import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from shared.domain.job import Duplicates, MaskFormat
from shared.domain.paligemma import SPATIAL_TOKEN
from shared.domain.result import LeftOutReason
from shared.errors import InferenceFailed
from shared.images.sandbox import DecodingPool
from shared.settings import Settings
from testing.factories import job_request, written_answer
from testing.pictures import encoded, gradient
from tests.unit.worker.engine.scripted import ScriptedRunner, job
from worker.engine.engine import Engine
from worker.engine.model_input import ModelInput
from worker.engine.scheduler import Scheduler
from worker.engine.sequence import Answer
from worker.engine_model import EngineModel
from worker.pipeline import Pipeline
from worker.stages.calibration import Calibration

_CODES = range(16)
_WIDE = encoded(gradient(400, 100))
_FAR = 9


class _Preprocessor:
    """Makes an input without tokens of each view."""

    side = 8

    def token_ids(self, prompt: str) -> list[int]:
        return []


class _PreparedEngine:
    """Answers the views in their order. An answer's token ids index the tokens of its text."""

    def __init__(self, texts: Sequence[str], *, truncated: Sequence[int] = ()) -> None:
        self.seen: list[ModelInput] = []
        self._answers = iter(enumerate(texts))
        self._truncated = truncated

    def submit(self, job: ModelInput, is_canceled: Callable[[], bool]) -> Future[Answer]:
        self.seen.append(job)
        number, text = next(self._answers)
        future: Future[Answer] = Future()
        tokens = _Tokenizer().ids(text)
        logprobs = [-0.1 * (1 + number)] * len(tokens)
        future.set_result(Answer(tokens, logprobs, truncated=number in self._truncated, batch_size=4))
        return future

    def close(self) -> None:
        pass


class _Tokenizer:
    """One id for each location and mask token, and one for each other character."""

    _names: ClassVar[list[str]] = []

    def ids(self, text: str) -> list[int]:
        names = [match[0] for match in re.finditer(rf"{SPATIAL_TOKEN.pattern}|.", text, re.DOTALL)]
        self._names.extend(name for name in dict.fromkeys(names) if name not in self._names)
        return [self._names.index(name) for name in names]

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return "".join(self.convert_ids_to_tokens(ids))

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._names[each] for each in ids]


class _Codec:
    def decode(self, codes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.ones((len(codes), 64, 64), np.float32)


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecodingPool]:
    with DecodingPool(Settings.of(decode_processes=1).images) as pool:
        yield pool


@pytest.fixture
def pipeline_of(decoders: DecodingPool) -> Callable[..., Pipeline]:
    def make(engine: Any, calibration: Calibration | None = None) -> Pipeline:
        preprocessor: Any = _Preprocessor()
        model = EngineModel(preprocessor, engine, _Tokenizer(), _Codec())
        return Pipeline(decoders, model, calibration)

    return make


def _cat(*box_yxyx: int, label: str = "cat") -> str:
    return written_answer([(box_yxyx, _CODES, label)])


def _never() -> bool:
    return False


def test_a_wide_picture_is_seen_as_a_whole_and_in_tiles_of_the_same_size(pipeline_of: Callable[..., Pipeline]) -> None:
    engine = _PreparedEngine([""] * 4)
    result = pipeline_of(engine).run(job_request(), _WIDE, _never).result
    assert [each.pixels.shape for each in engine.seen] == [(8, 8, 3)] * 4
    assert (result.tiles, result.image.width, result.raw_text) == ("3x1", 400, "\n\n\n")


def test_other_pictures_are_seen_once(pipeline_of: Callable[..., Pipeline]) -> None:
    engine = _PreparedEngine([""])
    result = pipeline_of(engine).run(job_request(), encoded(gradient(160, 90)), _never)
    assert (len(engine.seen), result.result.tiles, result.result.raw_text) == (1, "1", "")


def test_the_answers_of_all_tiles_are_one_result(pipeline_of: Callable[..., Pipeline]) -> None:
    texts = ["what", _cat(256, 256, 512, 512), "", f"{_cat(256, 512, 512, 768)} ; odd"]
    pipeline = pipeline_of(_PreparedEngine(texts, truncated=[2]))
    done = pipeline.run(job_request(tiles="3x1"), _WIDE, _never)
    result = done.result
    assert [each.box for each in result.objects] == [(40, 25, 80, 50), (320, 25, 360, 50)]
    assert [each.area for each in result.objects] == [40 * 25] * 2
    assert [each.text for each in result.skipped] == ["what", "odd"]
    assert (result.truncated, result.raw_text.split("\n"), done.batch_size) == (True, texts, 4)


def test_duplicates_are_merged_unless_they_are_asked_for(pipeline_of: Callable[..., Pipeline]) -> None:
    five = " ; ".join([_cat(0, 0, 500, 500)] * 5)
    merged = pipeline_of(_PreparedEngine([five])).run(job_request(tiles="1"), _WIDE, _never).result
    assert [each.merged for each in merged.objects] == [4]
    request = job_request(tiles="1", duplicates=Duplicates.KEEP)
    kept = pipeline_of(_PreparedEngine([five])).run(request, _WIDE, _never).result
    assert [each.merged for each in kept.objects] == [0] * 5


def test_objects_below_the_threshold_are_left_out_and_said(pipeline_of: Callable[..., Pipeline]) -> None:
    request = job_request(prompt="segment cat ; dog", tiles="1", score_threshold={"dog": 0.95})
    answer = f"{_cat(0, 0, 500, 500)} ; {_cat(0, 600, 500, 999, label='dog')}"
    result = pipeline_of(_PreparedEngine([answer])).run(request, _WIDE, _never).result
    assert [each.label for each in result.objects] == ["cat"]
    assert [(each.reason, each.label) for each in result.left_out] == [(LeftOutReason.BELOW_THRESHOLD, "dog")]


def test_a_calibrated_score_stands_beside_that_of_the_model(pipeline_of: Callable[..., Pipeline]) -> None:
    engine = _PreparedEngine([_cat(0, 0, 500, 500)])
    calibration = Calibration(about="a test", intercept=0.0, slope=0.0)
    result = pipeline_of(engine, calibration).run(job_request(tiles="1"), _WIDE, _never).result
    (found,) = result.objects
    assert (found.score, round(found.raw_score or 0, 3), result.calibrated) == (0.5, 0.905, True)


def test_without_a_calibration_the_score_is_that_of_the_model(pipeline_of: Callable[..., Pipeline]) -> None:
    result = pipeline_of(_PreparedEngine([_cat(0, 0, 500, 500)])).run(job_request(tiles="1"), _WIDE, _never).result
    assert (result.objects[0].score, result.calibrated) == (result.objects[0].raw_score, False)


def test_all_formats_of_a_mask_work_in_tiles(pipeline_of: Callable[..., Pipeline]) -> None:
    texts = ["", _cat(256, 900, 512, 1023), _cat(256, 0, 512, 300), ""]
    request = job_request(mask_formats=tuple(MaskFormat), tiles="3x1")
    (joined,) = pipeline_of(_PreparedEngine(texts)).run(request, _WIDE, _never).result.objects
    assert joined.merged == 1
    assert {each.format for each in (joined.mask, *joined.alternate_masks) if each} == set(MaskFormat)


def _scripted(runner: ScriptedRunner) -> Engine:
    return Engine(runner, Scheduler(16, 1 << 20), max_answer_tokens=50)


def test_all_tiles_share_a_batch(pipeline_of: Callable[..., Pipeline]) -> None:
    runner = ScriptedRunner()
    runner.gate.clear()
    engine = _scripted(runner)
    engine.submit(job(_FAR))  # the first prefill waits for the gate, and all tiles arrive meanwhile
    assert runner.running.wait(10)
    submitted = threading.Semaphore(0)

    numbers = itertools.count(1)

    def submit(_: ModelInput, is_canceled: Callable[[], bool]) -> Future[Answer]:
        future = engine.submit(job(next(numbers)), is_canceled)
        submitted.release()
        return future

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(pipeline_of(SimpleNamespace(submit=submit)).run, job_request(tiles="3x1"), _WIDE, _never)
        assert all(submitted.acquire(timeout=10) for _ in range(4))
        runner.gate.set()
        assert done.result(10).result.objects == []
    assert runner.prefills == [[_FAR], [1, 2, 3, 4]]
    engine.close()


def test_few_jobs_with_tiles_are_in_the_engine_at_once_and_those_that_wait_can_be_canceled(
    pipeline_of: Callable[..., Pipeline],
) -> None:
    asked: queue.Queue[Future[Answer]] = queue.Queue()

    def submit(_: ModelInput, is_canceled: Callable[[], bool]) -> Future[Answer]:
        future: Future[Answer] = Future()
        asked.put(future)
        return future

    pipeline = pipeline_of(SimpleNamespace(submit=submit))
    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(pipeline.run, job_request(tiles="2x1"), _WIDE, _never) for _ in range(4)]
        views = [asked.get(timeout=60) for _ in range(4 * 3)]
        waiting = pool.submit(pipeline.run, job_request(tiles="2x1"), _WIDE, lambda: True)
        with pytest.raises(CancelledError):
            waiting.result(60)
        alone = pool.submit(pipeline.run, job_request(tiles="1"), _WIDE, _never)
        for view in (asked.get(timeout=60), *views):
            view.set_result(Answer())
        assert [done.result(60).result.objects for done in (alone, *running)] == [[]] * 5
    assert asked.empty()


def test_a_cancel_ends_all_tiles(pipeline_of: Callable[..., Pipeline]) -> None:
    engine = _scripted(runner := ScriptedRunner())
    numbered = SimpleNamespace(submit=lambda _, is_canceled: engine.submit(job(1), is_canceled))
    with pytest.raises(CancelledError):
        pipeline_of(numbered).run(job_request(tiles="3x1"), _WIDE, lambda: True)
    engine.close()
    assert runner.decodes == []


def test_a_tile_that_fails_fails_the_job_and_the_others_are_dropped(pipeline_of: Callable[..., Pipeline]) -> None:
    asked: list[tuple[Future[Answer], Callable[[], bool]]] = []

    def submit(_: ModelInput, is_canceled: Callable[[], bool]) -> Future[Answer]:
        asked.append((Future(), is_canceled))
        if len(asked) == 3:
            asked[-1][0].set_exception(InferenceFailed("of one tile"))
        return asked[-1][0]

    with pytest.raises(InferenceFailed):
        pipeline_of(SimpleNamespace(submit=submit)).run(job_request(tiles="3x1"), _WIDE, _never)
    assert [is_canceled() for _, is_canceled in asked] == [True] * 4
