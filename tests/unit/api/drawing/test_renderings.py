"""Renderings: made once, kept within bounds, and not begun for clients that are gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest

from api.drawing import renderings as module
from api.drawing.renderings import RenderingCache, Renderings, Work
from shared.errors import ImageExpired, ShareExceeded


class _Artist:
    """Makes renderings of 10 bytes once it may; counts them."""

    def __init__(self) -> None:
        self.may_finish = threading.Event()
        self.begun = 0
        self.made = 0

    def prepare(self) -> Callable[[], Awaitable[Work]]:
        async def prepare() -> Work:
            self.begun += 1
            return self._make

        return prepare

    def _make(self) -> bytes:
        self.may_finish.wait(20)
        self.made += 1
        return b"0123456789"


@contextmanager
def _renderings(threads: int = 4, cache_bytes: int = 1_000) -> Iterator[tuple[Renderings, _Artist]]:
    renderings, artist = Renderings(threads, "overlays", RenderingCache(cache_bytes)), _Artist()
    try:
        yield renderings, artist
    finally:
        artist.may_finish.set()
        renderings.close()


async def _until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not happened():  # noqa: ASYNC110  what happens in threads sets no event
            await asyncio.sleep(0.005)


def test_many_who_ask_at_once_and_later_get_one_rendering() -> None:
    async def main() -> None:
        with _renderings() as (renderings, artist):
            asked = [asyncio.create_task(renderings.get(("1", "o"), "a", 1, artist.prepare())) for _ in range(9)]
            await _until(lambda: artist.begun == 1)
            artist.may_finish.set()
            assert await asyncio.gather(*asked) == [b"0123456789"] * 9
            assert await renderings.get(("1", "o"), "a", 1, artist.prepare()) == b"0123456789"
            assert artist.made == 1

    asyncio.run(main())


def test_one_who_leaves_ends_nothing_for_the_others() -> None:
    async def main() -> None:
        with _renderings() as (renderings, artist):
            leaver, stayer = (
                asyncio.create_task(renderings.get(("1", "o"), "a", 1, artist.prepare())) for _ in range(2)
            )
            await _until(lambda: artist.begun == 1)
            leaver.cancel()
            artist.may_finish.set()
            assert await stayer == b"0123456789"

    asyncio.run(main())


def test_nothing_is_begun_for_those_who_left_before_their_turn() -> None:
    async def main() -> None:
        with _renderings(threads=2) as (renderings, artist):
            asked = [asyncio.create_task(renderings.get((str(job), "o"), "a", 1, artist.prepare())) for job in range(9)]
            await _until(lambda: artist.begun == 1)
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
            artist.may_finish.set()
            assert await renderings.get(("last", "o"), "a", 1, artist.prepare()) == b"0123456789"
            assert artist.begun == 2

    asyncio.run(main())


def test_a_failure_is_told_to_all_and_not_kept() -> None:
    async def fail() -> Work:
        raise ImageExpired("gone")

    async def main() -> None:
        with _renderings() as (renderings, artist):
            asked = [renderings.get(("1", "o"), "a", 1, fail) for _ in range(3)]
            assert [type(each) for each in await asyncio.gather(*asked, return_exceptions=True)] == [ImageExpired] * 3
            artist.may_finish.set()
            assert await renderings.get(("1", "o"), "a", 1, artist.prepare()) == b"0123456789"

    asyncio.run(main())


def test_a_client_with_its_share_of_waiting_requests_is_refused_and_others_are_not() -> None:
    async def main() -> None:
        with _renderings(threads=1) as (renderings, artist):
            asked = [
                asyncio.create_task(renderings.get((str(job), "o"), "a", 1, artist.prepare())) for job in range(12)
            ]
            await asyncio.sleep(0)
            with pytest.raises(ShareExceeded, match="your share of overlays"):
                await renderings.get(("12", "o"), "a", 1, artist.prepare())
            other = asyncio.create_task(renderings.get(("13", "o"), "b", 1, artist.prepare()))
            artist.may_finish.set()
            assert await asyncio.gather(*asked, other) == [b"0123456789"] * 13

    asyncio.run(main())


def test_the_cache_keeps_what_was_used_last_within_its_bytes() -> None:
    cache = RenderingCache(25)
    cache.put(("1", "o"), b"0123456789")
    cache.put(("2", "o"), b"0123456789")
    assert cache.get(("1", "o"))
    cache.put(("3", "o"), b"0123456789")
    assert [bool(cache.get((job, "o"))) for job in "123"] == [True, False, True]
    assert cache.size == 20
    cache.put(("4", "o"), bytes(26))
    assert cache.size == 0
    assert cache.get(("4", "o")) is None


def test_the_cache_forgets_what_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = RenderingCache(100)
    cache.put(("1", "o"), b"0123456789")
    monkeypatch.setattr(module, "MAX_AGE_S", -1)
    assert cache.get(("1", "o")) is None
    assert cache.size == 0
