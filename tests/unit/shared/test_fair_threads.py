"""Threads that clients share: turns, shares, and calls that are canceled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from shared.fair_threads import FairThreads


class _Gate:
    """Work that runs until the gate is opened."""

    def __init__(self) -> None:
        self.running = 0
        self._open = threading.Event()

    def __call__(self) -> None:
        self.running += 1
        self._open.wait(20)

    def open(self) -> None:
        self._open.set()


@contextmanager
def _threads(total: int) -> Iterator[tuple[FairThreads, _Gate]]:
    threads, gate = FairThreads(total, "test"), _Gate()
    try:
        yield threads, gate
    finally:
        gate.open()
        threads.close()


async def _until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110  what happens in threads sets no event
            await asyncio.sleep(0.005)


async def _fill(threads: FairThreads, gate: _Gate, client: str, calls: int) -> list[asyncio.Task[None]]:
    before = gate.running + threads.waiting
    tasks = [asyncio.create_task(threads.run(client, gate)) for _ in range(calls)]
    await _until(lambda: gate.running + threads.waiting == before + calls)
    return tasks


def test_one_client_leaves_a_thread_for_the_next() -> None:
    async def main() -> None:
        with _threads(4) as (threads, gate):
            tasks = await _fill(threads, gate, "greedy", 16)
            assert gate.running == 3
            assert await threads.run("newcomer", lambda: "done") == "done"
            gate.open()
            await asyncio.gather(*tasks)

    asyncio.run(main())


def test_one_thread_is_used_by_one_client_after_the_other() -> None:
    async def main() -> None:
        with _threads(1) as (threads, _):
            assert await asyncio.gather(*[threads.run(name, lambda: 1) for name in "aabb"]) == [1] * 4

    asyncio.run(main())


def test_a_free_thread_goes_to_the_client_that_uses_fewest() -> None:
    order: list[str] = []

    def prepare(client: str) -> Callable[[], Awaitable[Callable[[], None]]]:
        async def begin() -> Callable[[], None]:
            order.append(client)
            return lambda: None

        return begin

    async def main() -> None:
        with _threads(4) as (threads, gate):
            busy = await _fill(threads, gate, "a", 3) + await _fill(threads, gate, "b", 1)
            later = [asyncio.create_task(threads.run_prepared(client, prepare(client))) for client in "aac"]
            await _until(lambda: threads.waiting == 3)
            gate.open()
            await asyncio.gather(*busy, *later)

    asyncio.run(main())
    assert order == ["c", "a", "a"]


def test_a_call_that_is_canceled_before_its_turn_runs_nothing_and_uses_no_thread() -> None:
    async def main() -> None:
        with _threads(2) as (threads, gate):
            tasks = await _fill(threads, gate, "a", 5)
            assert threads.waiting == 4
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks[1:], return_exceptions=True)
            assert threads.waiting == 0
            gate.open()
            await tasks[0]
            assert gate.running == 1
            assert await asyncio.gather(*[threads.run("a", lambda: 1) for _ in range(8)]) == [1] * 8

    asyncio.run(main())


def test_a_thread_stays_in_use_until_its_work_returns_although_its_call_was_canceled() -> None:
    async def main() -> None:
        with _threads(2) as (threads, gate):
            (running,) = await _fill(threads, gate, "a", 1)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            second = (await _fill(threads, gate, "a", 1))[0]
            assert threads.waiting == 1  # its share of two threads is one
            gate.open()
            await second

    asyncio.run(main())


def test_what_fails_frees_its_thread() -> None:
    async def prepare() -> Callable[[], None]:
        raise ValueError

    async def main() -> None:
        with _threads(1) as (threads, _):
            for _ in range(3):
                with pytest.raises(ValueError):  # noqa: PT011
                    await threads.run_prepared("a", prepare)
                with pytest.raises(ZeroDivisionError):
                    await threads.run("a", lambda: 1 // 0)
            assert await threads.run("a", lambda: 1) == 1

    asyncio.run(main())


def test_what_is_loaded_before_the_work_is_loaded_only_as_often_as_there_are_threads() -> None:
    loaded: list[str] = []

    async def main() -> None:
        with _threads(4) as (threads, gate):

            async def prepare() -> Callable[[], None]:
                loaded.append("image")
                return gate

            tasks = [asyncio.create_task(threads.run_prepared("a", prepare)) for _ in range(16)]
            await _until(lambda: gate.running + threads.waiting == 16)
            assert len(loaded) == 3
            gate.open()
            await asyncio.gather(*tasks)

    asyncio.run(main())


def test_a_call_that_was_just_canceled_gets_no_turn_and_harms_no_other() -> None:
    async def main() -> None:
        with _threads(1) as (threads, _):
            may_fail = asyncio.Event()

            async def prepare() -> Callable[[], None]:
                await may_fail.wait()
                canceled.cancel()  # its call is told on the next turn of the event loop
                raise ValueError

            failing = asyncio.create_task(threads.run_prepared("a", prepare))
            canceled, later = [asyncio.create_task(threads.run(client, lambda: "done")) for client in "bc"]
            await _until(lambda: threads.waiting == 2)
            may_fail.set()
            await asyncio.gather(failing, canceled, return_exceptions=True)
            assert isinstance(failing.exception(), ValueError)
            assert canceled.cancelled()
            assert await later == "done"

    asyncio.run(main())
