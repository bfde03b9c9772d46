from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from pathlib import Path

import pytest

from shared.errors import InferenceFailed
from tests.unit.worker.engine.scripted import ScriptedRunner, job
from worker.engine.engine import Engine
from worker.engine.failures import StepOutOfMemory
from worker.engine.scheduler import Scheduler
from worker.engine.sequence import Answer

_MAX_TOKENS = 30
_SLOTS = 4


@pytest.fixture
def runner() -> ScriptedRunner:
    return ScriptedRunner()


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler(_SLOTS, prefill_tokens=100)


@pytest.fixture(params=[0, 1, 3], ids=lambda lag: f"lag {lag}")
def engine(request: pytest.FixtureRequest, runner: ScriptedRunner, scheduler: Scheduler) -> Iterator[Engine]:
    engine = Engine(runner, scheduler, max_answer_tokens=_MAX_TOKENS, lag=request.param)
    yield engine
    runner.gate.set()
    engine.close()


def _occupy(engine: Engine, runner: ScriptedRunner, length: int = 0) -> None:
    """Keep the engine busy with one job, so that the next jobs wait."""
    runner.gate.clear()
    engine.submit(job(99, length))
    assert runner.running.wait(10)


def test_every_job_gets_its_own_complete_answer(engine: Engine) -> None:
    futures = [engine.submit(job(name, length=name % 5)) for name in range(1, 50)]
    assert [future.result(10).token_ids for future in futures] == [[name] * (name % 5) for name in range(1, 50)]


def test_an_answer_has_the_probability_of_each_token(engine: Engine) -> None:
    assert engine.submit(job(1, length=3)).result(10).logprobs == [-0.5] * 3


def test_jobs_that_wait_start_together_in_the_order_of_arrival(engine: Engine, runner: ScriptedRunner) -> None:
    _occupy(engine, runner)
    futures = [engine.submit(job(name, length=2)) for name in range(1, 9)]
    runner.gate.set()
    for future in futures:
        future.result(10)
    assert [name for prefill in runner.prefills for name in prefill] == [99, *range(1, 9)]
    assert max(map(len, runner.prefills)) >= _SLOTS - 1


def test_a_job_joins_a_running_batch(engine: Engine, runner: ScriptedRunner) -> None:
    long = engine.submit(job(1, length=_MAX_TOKENS - 1))
    joined = [engine.submit(job(name, length=2)) for name in (2, 3)]
    for future in (*joined, long):
        future.result(10)
    assert any({1, 2} <= set(decode) for decode in runner.decodes)


def test_short_answers_do_not_wait_for_long_ones(engine: Engine, runner: ScriptedRunner) -> None:
    _occupy(engine, runner, length=_MAX_TOKENS - 1)
    order: list[int] = []
    for name in range(1, 20):
        engine.submit(job(name, length=1)).add_done_callback(lambda _, name=name: order.append(name))  # type: ignore[misc]
    long = engine.submit(job(50, length=_MAX_TOKENS - 1))
    runner.gate.set()
    assert len(long.result(10).token_ids) == _MAX_TOKENS - 1
    assert order == list(range(1, 20))


def test_an_answer_that_never_ends_is_truncated(engine: Engine) -> None:
    answer = engine.submit(job(1, length=10_000)).result(10)
    assert (len(answer.token_ids), answer.truncated) == (_MAX_TOKENS, True)
    assert not engine.submit(job(1, length=_MAX_TOKENS - 1)).result(10).truncated


def test_an_answer_has_the_largest_batch_size(engine: Engine, runner: ScriptedRunner) -> None:
    _occupy(engine, runner)
    futures = [engine.submit(job(name, length=5)) for name in range(1, 4)]
    runner.gate.set()
    (size,) = {future.result(10).batch_size for future in futures}
    assert size == max(map(len, runner.decodes))
    assert size >= 3


@pytest.mark.parametrize("fails_late", [False, True])
def test_a_poisonous_job_fails_alone(engine: Engine, runner: ScriptedRunner, fails_late: bool) -> None:
    runner.fails_late = fails_late
    runner.errors[13] = RuntimeError("poison")
    _occupy(engine, runner)
    futures = {name: engine.submit(job(name, length=3)) for name in (1, 2, 13, 3, 4)}
    runner.gate.set()
    poison = futures.pop(13)
    assert [future.result(10).token_ids for future in futures.values()] == [[name] * 3 for name in futures]
    with pytest.raises(InferenceFailed):
        poison.result(10)
    assert engine.submit(job(5)).result(10).token_ids == [5]


def test_a_step_without_memory_is_repeated_with_half_the_jobs(engine: Engine, runner: ScriptedRunner) -> None:
    runner.max_prefill, runner.too_many = 1, StepOutOfMemory()
    _occupy(engine, runner)
    futures = [engine.submit(job(name, length=2)) for name in range(1, 5)]
    runner.gate.set()
    assert [future.result(10).token_ids for future in futures] == [[name] * 2 for name in range(1, 5)]
    sizes = [len(prefill) for prefill in runner.prefills[1:]]
    assert sizes[0] > 1
    assert sizes[1] == sizes[0] // 2
    assert sizes[-1] == 1


def test_after_a_lack_of_memory_fewer_jobs_start_in_one_step(runner: ScriptedRunner) -> None:
    scheduler = Scheduler(_SLOTS, prefill_tokens=8)  # four jobs of two tokens
    engine = Engine(runner, scheduler, max_answer_tokens=_MAX_TOKENS)
    runner.max_prefill, runner.too_many = 2, StepOutOfMemory()
    _occupy(engine, runner)
    first = [engine.submit(job(name)) for name in range(1, 5)]
    runner.gate.set()
    for future in first:
        future.result(10)
    runner.prefills.clear()
    _occupy(engine, runner)
    second = [engine.submit(job(name)) for name in range(1, 5)]
    runner.gate.set()
    for future in second:
        future.result(10)
    engine.close()
    assert max(map(len, runner.prefills)) == 2


def test_a_job_canceled_while_it_waits_is_never_run(engine: Engine, runner: ScriptedRunner) -> None:
    _occupy(engine, runner)
    canceled, kept = engine.submit(job(1), lambda: True), engine.submit(job(2))
    runner.gate.set()
    assert kept.result(10).token_ids == [2]
    with pytest.raises(CancelledError):
        canceled.result(10)
    assert [1] not in runner.prefills


def test_a_job_canceled_while_it_runs_stops_running(engine: Engine, runner: ScriptedRunner) -> None:
    leave = threading.Event()
    other = engine.submit(job(2, length=_MAX_TOKENS - 1))
    canceled = engine.submit(job(1, length=_MAX_TOKENS - 1), leave.is_set)
    leave.set()
    with pytest.raises(CancelledError):
        canceled.result(10)
    assert len(other.result(10).token_ids) == _MAX_TOKENS - 1
    assert sum(1 in decode for decode in runner.decodes) < _MAX_TOKENS


def test_no_slot_is_lost_whichever_jobs_join_leave_and_fail(
    engine: Engine, runner: ScriptedRunner, scheduler: Scheduler
) -> None:
    chance = random.Random(7)
    runner.errors[13] = RuntimeError("poison")
    futures: deque[Future[Answer]] = deque()
    for _ in range(10_000):
        name, length = chance.randrange(1, 40), chance.randrange(4)
        leaves_after = chance.randrange(1, 8) if chance.random() < 0.2 else 1 << 30
        looks = iter(range(1 << 30))
        futures.append(engine.submit(job(name, length), lambda looks=looks, last=leaves_after: next(looks) >= last))  # type: ignore[misc]
        if len(futures) > 4 * _SLOTS:  # so that jobs leave both while they wait and while they run
            _wait_for_end(futures.popleft())
    for future in futures:
        _wait_for_end(future)
    engine.close()
    assert not scheduler.has_work
    assert scheduler.free_slots == _SLOTS


def _wait_for_end(future: Future[Answer]) -> None:
    with suppress(CancelledError, InferenceFailed):
        future.result(30)


def test_stats_count_slots_jobs_steps_and_tokens(engine: Engine, runner: ScriptedRunner) -> None:
    _occupy(engine, runner)
    futures = [engine.submit(job(name, length=2)) for name in (1, 2)]
    blocked = engine.stats()
    assert (blocked["slots"], blocked["slots_used"], blocked["steps_total"]) == (_SLOTS, 1, 0)
    runner.gate.set()
    for future in futures:
        future.result(10)
    engine.close()
    done = engine.stats()
    assert (done["slots_used"], done["jobs_waiting"], done["images_total"]) == (0, 0, 3)
    assert done["steps_total"] == done["steps_scripted_total"]
    assert done["tokens_total"] >= 2 * 3 + 1


def test_closing_answers_waiting_jobs_and_refuses_new_ones(runner: ScriptedRunner, scheduler: Scheduler) -> None:
    engine = Engine(runner, scheduler, max_answer_tokens=_MAX_TOKENS)
    _occupy(engine, runner)
    waiting = engine.submit(job(1))
    runner.gate.set()
    engine.close()
    assert waiting.result(0).token_ids == [1]
    with pytest.raises(InferenceFailed):
        engine.submit(job(2))


def test_a_lost_device_ends_the_process(root: Path) -> None:
    program = """
from tests.unit.worker.engine.scripted import ScriptedRunner, job
from worker.engine.engine import Engine
from worker.engine.failures import DeviceLost
from worker.engine.scheduler import Scheduler
from worker.engine.sequence import Answer

runner = ScriptedRunner(errors={1: DeviceLost()})
Engine(runner, Scheduler(1, 10), max_answer_tokens=5).submit(job(1)).result(10)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, timeout=30, check=False)
    assert done.returncode == os.EX_SOFTWARE
    assert b"device is lost" in done.stderr
