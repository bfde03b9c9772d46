"""What the clients do, against a real service."""

from __future__ import annotations

import asyncio
import inspect
import io
from collections.abc import Iterator
from pathlib import Path

import httpx2
import maskq
import numpy as np
import pytest
from maskq import (
    AsyncClient,
    Client,
    ConnectionFailed,
    ImageError,
    JobCanceled,
    MaskUnavailable,
    RequestError,
    Result,
    WaitTimeout,
)
from maskq.errors import BatchNotFound, InvalidField, JobDeleted, JobEnded, JobNotFound
from PIL import Image

from testing.faulty_proxy import faulty_proxy
from testing.scripted_pipeline import ENDLESS, SLOW, scripted_answer


def _members(kind: type) -> dict[str, inspect.Signature]:
    functions = {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}
    return {name: inspect.signature(each) for name, each in functions.items() if inspect.isfunction(each)}


@pytest.mark.parametrize("name", ["Client", "Job", "Result", "Batch"])
def test_both_clients_have_the_same_names_and_parameters(name: str) -> None:
    blocking = _members(getattr(maskq, name))
    other = _members(getattr(maskq, f"Async{name}"))
    assert {each: list(signature.parameters.values()) for each, signature in blocking.items()} == {
        each: list(signature.parameters.values()) for each, signature in other.items()
    }


def test_an_image_is_segmented(client: Client, photo: Path, png: bytes) -> None:
    result = client.segment(photo, "cat")
    expected = scripted_answer("segment cat", png).objects[0]
    found = result[0]
    assert (found.label, found.score, found.box, found.area) == ("segment cat", 1.0, expected.box, 1)
    mask = found.mask
    assert mask is not None
    x, y = found.box[:2]
    assert np.argwhere(mask).tolist() == [[y, x]]
    assert (len(result), result.width, result.height, result.job.file_name) == (1, 64, 48, "photo.png")


def test_every_kind_of_image_arrives(client: Client, photo: Path, png: bytes) -> None:
    picture = Image.open(io.BytesIO(png))
    for image in (str(photo), png, io.BytesIO(png), picture, np.asarray(picture)):
        assert client.segment(image, "cat").width == 64


def test_options_arrive(client: Client, photo: Path) -> None:
    job = client.submit(
        photo,
        "cat",
        ref="frame-17",
        metadata={"a": [1]},
        priority="high",
        timeout=60,
        score_threshold={"cat": 0.5},
        mask_format=["polygon", "png"],
        tiles="1",
        duplicates="keep",
        file_name="né.png",
    )
    assert (job.ref, job.metadata, job.file_name) == ("frame-17", {"a": [1]}, "né.png")
    assert job.json["priority"] == "high"
    assert job.json["deadline_at"]
    assert [job.id for job in client.jobs(limit=1)] == [job.id]


def test_any_text_can_be_sent(client: Client, photo: Path) -> None:
    name = "é \udcff\n"
    first, again = (client.submit(photo, "cät", ref="\udcff", idempotency_key=name, file_name=name) for _ in range(2))
    assert (first.id, first.ref) == (again.id, "?")


def test_an_unknown_option_is_named_by_the_service(client: Client, photo: Path) -> None:
    with pytest.raises(InvalidField, match="timeout"):
        client.submit(photo, "cat", timeot=5)  # type: ignore[call-arg]


def test_a_mask_is_there_whatever_format_was_asked_for(client: Client, photo: Path) -> None:
    found = client.segment(photo, "cat", mask_format="png")[0]
    assert found.mask is not None
    with pytest.raises(MaskUnavailable, match="polygon"):
        _ = found.polygons


def test_one_request_is_enough_for_a_result(service: str, photo: Path) -> None:
    with faulty_proxy(service, iter(())) as proxy, Client(proxy.url) as client:
        client.segment(photo, "another cat")
        assert proxy.paths == ["POST /segment/"]


def test_the_same_idempotency_key_is_the_same_job(client: Client, photo: Path) -> None:
    first, again = (client.submit(photo, "cat", idempotency_key="the-key") for _ in range(2))
    assert first.id == again.id
    assert client.submit(photo, "cat").id != first.id


def test_events_end_with_the_job(client: Client, photo: Path) -> None:
    states = [state.status for state in client.submit(photo, f"{SLOW} one").events()]
    assert states[-1] == "succeeded"
    assert len(states) == len(set(states))


def test_waiting_has_an_end_and_can_go_on(client: Client, photo: Path) -> None:
    job = client.submit(photo, f"{ENDLESS} two")
    with pytest.raises(WaitTimeout) as caught:
        job.wait(timeout=0.001)
    assert caught.value.job_id == job.id
    client.job(job.id).cancel()
    assert job.wait(timeout=30).status == "canceled"


def test_links_of_a_job_work_without_the_client(client: Client, photo: Path) -> None:
    job = client.submit(photo, "cat").wait(timeout=30)
    links = job.links(expires_in_s=60.5)
    assert httpx2.get(links["overlay"]).headers["content-type"] == "image/png"
    assert len(links["masks"]) == 1
    with pytest.raises(InvalidField, match="expires_in_s"):
        job.links(expires_in_s=3_601)


def test_a_canceled_job_has_no_result(client: Client, photo: Path) -> None:
    job = client.submit(photo, f"{ENDLESS} three")
    assert job.cancel().cancel().status == "canceled"
    with pytest.raises(JobCanceled):
        job.result()
    with pytest.raises(JobEnded):
        client.submit(photo, "four").wait().cancel()


def test_a_deleted_job_is_gone(client: Client, photo: Path) -> None:
    job = client.submit(photo, "cat")
    job.delete()
    job.delete()
    with pytest.raises(JobDeleted):
        job.refresh()
    with pytest.raises(JobNotFound):
        client.job("no-id")


def test_an_id_leads_to_no_other_path(client: Client) -> None:
    with pytest.raises(RequestError, match="404"):
        client.job("../models")


@pytest.mark.parametrize("no_id", ["", ".", ".."])
def test_an_id_that_would_lead_to_another_path_is_not_sent(client: Client, no_id: str) -> None:
    with pytest.raises(JobNotFound, match="no id"):
        client.job(no_id)
    with pytest.raises(BatchNotFound, match="no id"):
        client.batch(no_id)


def test_numbers_with_which_nothing_would_be_done_are_refused(service: str, photo: Path) -> None:
    with Client(service) as client:
        with pytest.raises(ValueError, match="concurrency is at least 1"):
            next(client.map([photo], "cat", concurrency=0))
        with pytest.raises(ValueError, match="limit is at least 0"):
            client.jobs(-1)

    async def main() -> None:
        async with AsyncClient(service) as client:
            with pytest.raises(ValueError, match="concurrency is at least 1"):
                await anext(client.map([photo], "cat", concurrency=0))
            with pytest.raises(ValueError, match="limit is at least 0"):
                await anext(client.jobs(-1))

    asyncio.run(main())


def test_what_is_no_prompt_is_named(client: Client, photo: Path) -> None:
    with pytest.raises(TypeError, match="cat ; dog"):
        client.segment(photo, ["cat", "dog"])  # type: ignore[arg-type]


def test_pages_of_jobs_are_read_as_they_are_needed(client: Client, photo: Path) -> None:
    ids = [client.submit(photo, "cat", ref=f"page-{number}").id for number in range(3)]
    found = client.jobs()
    assert [next(found).id for _ in ids] == ids[::-1]
    assert list(client.jobs(limit=0)) == []


def test_limits_are_read(client: Client) -> None:
    limits = client.limits()
    assert (limits["max_ref_chars"], limits["rates"]) == (200, {})


def test_jobs_are_found_by_state_and_reference(client: Client, photo: Path) -> None:
    job = client.submit(photo, "cat", ref="find me")
    job.wait(timeout=30)
    client.submit(photo, "cat", ref="find me not")
    assert [each.id for each in client.jobs(ref="find me", status="succeeded")] == [job.id]
    assert [each.id for each in client.jobs(ref="find me", status=["failed", "succeeded"])] == [job.id]
    assert list(client.jobs(ref="find me", status=["failed", "canceled"])) == []
    with pytest.raises(InvalidField, match="status"):
        next(client.jobs(status="done"))


def test_a_service_that_is_not_there_is_an_error_of_this_package(photo: Path) -> None:
    nobody = Client("http://127.0.0.1:9", retry_for_s=0)
    with nobody, pytest.raises(ConnectionFailed, match=r"127\.0\.0\.1:9"):
        nobody.segment(photo, "cat")


def test_many_images_end_each_with_a_result_or_an_error(client: Client, png: bytes) -> None:
    images = [png + str(number).encode() for number in range(40)]
    outcomes = dict(client.map([*images, b"no image"], "cat", concurrency=8))
    assert not isinstance(outcomes.pop(b"no image"), Result)
    assert set(outcomes) == set(images)
    for image, outcome in outcomes.items():
        assert isinstance(outcome, Result)
        assert outcome.json["raw_text"] == scripted_answer("segment cat", image).raw_text


def test_images_are_taken_only_when_there_is_room_for_them(client: Client, png: bytes) -> None:
    taken = 0

    def images() -> Iterator[bytes]:
        nonlocal taken
        for number in range(1_000_000):
            taken += 1
            yield png + str(number).encode()

    outcomes = client.map(images(), "cat", concurrency=4)
    for count in range(1, 20):
        next(outcomes)
        assert taken <= count + 3


def test_each_image_may_have_options_of_its_own(client: Client, png: bytes) -> None:
    outcomes = client.map([png], "cat", options_for=lambda image: {"ref": f"{len(image)} bytes"})
    for _, outcome in outcomes:
        assert isinstance(outcome, Result)
        assert outcome.job.ref == f"{len(png)} bytes"


def test_an_image_that_cannot_be_read_is_an_outcome(client: Client) -> None:
    ((image, outcome),) = client.map(["missing.png"], "cat")
    assert image == "missing.png"
    assert isinstance(outcome, ImageError)


def test_the_async_client_does_the_same(service: str, photo: Path, png: bytes) -> None:
    async def main() -> None:
        async with AsyncClient(service) as client:
            result = await client.segment(photo, "cat")
            assert (result[0].area, (await result.overlay()).size) == (1, (64, 48))
            assert (await result.to_labelstudio("a", "b"))["result"][0]["from_name"] == "a"
            job = await client.submit(photo, f"{SLOW} five", ref="async")
            assert [state.status async for state in job.events()][-1] == "succeeded"
            assert [each.id async for each in client.jobs(limit=1)] == [job.id]
            assert (await job.result())[0].area == 1
            other = await client.submit(photo, f"{ENDLESS} six")
            assert (await other.cancel()).status == "canceled"
            await other.delete()
            images = [png + b"async" + str(number).encode() for number in range(20)]
            outcomes = {image: outcome async for image, outcome in client.map([*images, b"no"], "cat", concurrency=4)}
            assert {image for image, outcome in outcomes.items() if isinstance(outcome, Exception)} == {b"no"}
            assert set(outcomes) == {*images, b"no"}
            assert (await client.models())[0].id == "demo"
            assert (await (await client.job(job.id)).refresh()).ref == "async"

    asyncio.run(main())
