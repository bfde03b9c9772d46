"""Whatever happens to connections and answers, each image is segmented once: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from maskq import AsyncClient, Client, MaskqError, Result

from testing.faulty_proxy import CUT_ANSWER, FAULTS, PASS, FaultyProxy, faulty_proxy
from testing.scripted_pipeline import ENDLESS, SLOW, scripted_answer

_IMAGES = 60


def _faults(seed: int) -> Iterator[str]:
    """Half of the requests fail, each time in the same order."""
    chance = random.Random(seed)
    while True:
        yield chance.choice(FAULTS) if chance.random() < 0.5 else PASS


@pytest.fixture
def proxy(service: str) -> Iterator[FaultyProxy]:
    with faulty_proxy(service, _faults(seed=7)) as proxy:
        yield proxy


def _images(png: bytes, name: str) -> dict[bytes, str]:
    """Different images, each with the `ref` of its job."""
    return {png + f"{name} {number}".encode(): f"{name}-{number}" for number in range(_IMAGES)}


def _jobs(service: str, name: str) -> Counter[str | None]:
    """How many jobs the service has for each `ref`."""
    with Client(service) as client:
        return Counter(job.ref for job in client.jobs() if (job.ref or "").startswith(f"{name}-"))


@pytest.mark.slow
def test_between_faults_each_image_has_one_job_and_its_own_result(service: str, proxy: FaultyProxy, png: bytes) -> None:
    images = _images(png, "blocking")
    with Client(proxy.url, retry_for_s=60) as client:
        outcomes = dict(client.map(images, "cat", concurrency=8, options_for=lambda image: {"ref": images[image]}))
    _check(outcomes, images)
    assert _jobs(service, "blocking") == Counter(images.values())
    assert set(proxy.done) == {*FAULTS, PASS}


@pytest.mark.slow
def test_between_faults_the_async_client_does_the_same(service: str, proxy: FaultyProxy, png: bytes) -> None:
    images = _images(png, "async")

    async def main() -> dict[bytes, object]:
        async with AsyncClient(proxy.url, retry_for_s=60) as client:
            found = client.map(images, "cat", concurrency=8, options_for=lambda image: {"ref": images[image]})
            return {image: outcome async for image, outcome in found}

    _check(asyncio.run(main()), images)
    assert _jobs(service, "async") == Counter(images.values())


def _check(outcomes: Mapping[bytes, object], images: dict[bytes, str]) -> None:
    assert set(outcomes) == set(images)
    failed = {images[image]: outcome for image, outcome in outcomes.items() if isinstance(outcome, MaskqError)}
    assert failed == {}
    for image, outcome in outcomes.items():
        assert outcome.json["raw_text"] == scripted_answer("segment cat", image).raw_text  # type: ignore[attr-defined]


def test_a_job_whose_answer_was_lost_is_found_again(service: str, photo: Path) -> None:
    with faulty_proxy(service, iter([CUT_ANSWER, CUT_ANSWER])) as proxy, Client(proxy.url) as client:
        job = client.submit(photo, "cat", ref="lost-1")
        assert proxy.paths == ["POST /segment/"] * 3
    assert _jobs(service, "lost") == Counter({job.ref: 1})


def test_cancel_and_delete_may_be_repeated(service: str, photo: Path) -> None:
    faults = iter([PASS, CUT_ANSWER, PASS, PASS, CUT_ANSWER])
    with faulty_proxy(service, faults) as proxy, Client(proxy.url) as client:
        job = client.submit(photo, f"{ENDLESS} cat")
        assert job.cancel().status == "canceled"
        job.delete()
        assert proxy.done[CUT_ANSWER] == 2


def test_waiting_goes_on_after_a_cut(service: str, photo: Path) -> None:
    with faulty_proxy(service, iter([PASS, CUT_ANSWER, "502"])) as proxy, Client(proxy.url) as client:
        job = client.submit(photo, f"{SLOW} cat, again")
        assert isinstance(job.result(timeout=30), Result)
