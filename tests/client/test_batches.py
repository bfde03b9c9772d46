"""Many images in one request with both clients, against a real service."""

from __future__ import annotations

import asyncio
import io
import json
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from maskq import AsyncClient, Client, ConnectionFailed, ImageError, ImageInput, RequestError, WaitTimeout
from maskq.batch_operations import BatchOperations
from maskq.batch_state import BatchState
from maskq.errors import BatchNotFound, InvalidField
from maskq.exchange import Exchange
from maskq.steps import Answer
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from testing.faulty_proxy import CUT_ANSWER, CUT_HALFWAY, CUT_UPLOAD, PASS, faulty_proxy
from testing.scripted_pipeline import ENDLESS, SLOW, scripted_answer
from tests.client.drive import VirtualTime


def _numbered(png: bytes, count: int, name: str = "") -> list[bytes]:
    return [png + f"{name}{number}".encode() for number in range(count)]


def test_each_image_becomes_a_job(client: Client, png: bytes) -> None:
    images = _numbered(png, 5)
    batch = client.submit_batch(images, "cat", ref="scan-7", metadata={"a": 1}, priority="high")
    assert (batch.total, batch.refused, [entry.index for entry in batch.entries]) == (5, [], [0, 1, 2, 3, 4])
    assert batch.wait(timeout=30).counts == {"succeeded": 5}
    jobs = list(batch.jobs())
    assert [job.id for job in jobs] == [entry.id for entry in batch.entries]
    for image, job in zip(images, jobs, strict=True):
        assert (job.ref, job.metadata, job.json["priority"]) == ("scan-7", {"a": 1}, "high")
        assert job.result().json["raw_text"] == scripted_answer("segment cat", image).raw_text


def test_every_kind_of_image_may_be_in_a_batch(client: Client, photo: Path, png: bytes) -> None:
    picture = Image.open(io.BytesIO(png))
    with photo.open("rb") as file:
        images: list[ImageInput] = [str(photo), photo, png, file, picture, np.asarray(picture)]
        batch = client.submit_batch(images, "cat")
    assert batch.wait(timeout=30).counts == {"succeeded": 6}
    assert [job.file_name for job in batch.jobs()][:3] == ["photo.png", "photo.png", "image"]


def test_images_keep_their_place_whatever_kind_they_are(client: Client, png: bytes) -> None:
    private = "https://127.0.0.1/cat.png"
    batch = client.submit_batch([private, png, private, b"no image", png + b"2"], "cat")
    refused = [(each.index, each.type) for each in batch.refused]
    assert sorted(refused) == [(0, "url_refused"), (2, "url_refused"), (3, "unsupported_image")]
    assert [entry.index for entry in batch.entries] == [1, 4]
    assert [entry.index for entry in batch.wait(timeout=30).entries] == [1, 4]
    texts = [job.result().json["raw_text"] for job in batch.jobs()]
    assert texts == [scripted_answer("segment cat", image).raw_text for image in (png, png + b"2")]


def test_what_cannot_be_sent_is_refused(client: Client, png: bytes) -> None:
    with pytest.raises(ImageError, match="at least one"):
        client.submit_batch([], "cat")
    with pytest.raises(ImageError, match=r"missing\.png"):
        client.submit_batch([png, "missing.png"], "cat")
    with pytest.raises(RequestError):
        client.submit_batch([b"no image"], "cat")
    with pytest.raises(InvalidField, match="priority"):
        client.submit_batch([png], "cat", priority="urgent")


def test_the_same_key_is_the_same_batch(client: Client, png: bytes) -> None:
    key = uuid.uuid4().hex
    first = client.submit_batch([png], "cat", idempotency_key=key)
    again = client.submit_batch([png], "cat", idempotency_key=key)
    assert (again.id, again.total) == (first.id, 1)
    assert again.entries[0].id == first.entries[0].id
    assert client.submit_batch([png], "cat").id != first.id


def test_a_batch_is_found_again(client: Client, png: bytes) -> None:
    batch = client.submit_batch([png, b"no image"], "cat")
    again = client.batch(batch.id)
    assert (again.id, again.total) == (batch.id, 1)
    assert len(batch.refresh().refused) == 1
    with pytest.raises(BatchNotFound):
        client.batch(str(uuid.uuid4()))
    with pytest.raises(RequestError, match="404"):
        client.batch("../models")


def test_progress_is_asked_for(client: Client, png: bytes) -> None:
    batch = client.submit_batch(_numbered(png, 4), f"{SLOW} batch")
    assert sum(batch.progress().values()) == 4
    assert batch.wait().progress() == {"succeeded": 4}
    assert batch.has_ended
    assert batch.unfinished == []


def test_a_batch_is_canceled_and_deleted(client: Client, png: bytes) -> None:
    batch = client.submit_batch(_numbered(png, 30), f"{ENDLESS} canceled")
    assert batch.cancel().cancel().has_ended
    assert sum(batch.counts.values()) == 30
    assert len(list(batch.jobs())) == 30
    batch.delete()
    batch.delete()
    assert list(batch.jobs()) == []  # they are gone meanwhile
    with pytest.raises(BatchNotFound, match="deleted"):
        batch.progress()


def _check_coco(document: dict[str, Any], images: list[bytes], folder: Path) -> None:
    """Compare every mask with the only right one, pixel for pixel."""
    path = folder / "coco.json"
    path.write_text(json.dumps(document))
    data = COCO(str(path))
    assert len(data.dataset["images"]) == len(images)
    for image, content in zip(data.dataset["images"], images, strict=True):
        (found,) = data.loadAnns(data.getAnnIds(imgIds=[image["id"]]))
        mask = scripted_answer("segment cat", content).objects[0].rle
        assert mask is not None
        assert (data.annToMask(found) == coco_mask.decode({"size": mask.size, "counts": mask.counts})).all()


def test_a_batch_is_one_data_set(client: Client, png: bytes, tmp_path: Path) -> None:
    images = _numbered(png, 12, "coco")
    batch = client.submit_batch(images, "cat", ref="set")
    document = batch.wait().to_coco()
    _check_coco(document, images, tmp_path)
    assert {image["ref"] for image in document["images"]} == {"set"}
    assert [image["job_id"] for image in document["images"]] == [entry.id for entry in batch.entries]
    assert client.coco(batch.jobs()) == document


def test_any_jobs_are_one_data_set(client: Client, png: bytes) -> None:
    jobs = [client.submit(png, prompt).wait() for prompt in ("cat", "dog", "cat")]
    canceled = client.submit(png, f"{ENDLESS} never").cancel()
    unknown = str(uuid.uuid4())
    document = client.coco([*jobs, canceled.id, unknown])
    assert [each["category_id"] for each in document["annotations"]] == [1, 2, 1]
    skipped = [(each["job_id"], each["reason"]) for each in document["info"]["skipped"]]
    assert skipped == [(canceled.id, "canceled"), (unknown, "not_found")]
    for wrong in ([], ["x"]):
        with pytest.raises(InvalidField, match="jobs"):
            client.coco(wrong)


@pytest.mark.parametrize("fault", [CUT_UPLOAD, CUT_ANSWER, CUT_HALFWAY, "429", "502", "503"])
def test_a_repeated_request_makes_no_second_job(service: str, png: bytes, fault: str) -> None:
    ref = uuid.uuid4().hex
    with faulty_proxy(service, iter([fault, fault, PASS, fault])) as proxy, Client(proxy.url) as client:
        batch = client.submit_batch(_numbered(png, 3, ref), "cat", ref=ref)
        assert batch.refresh().total == 3
        assert proxy.paths == [*["POST /batches"] * 3, *[f"GET /batches/{batch.id}"] * 2]
    with Client(service) as client:
        assert len(list(client.jobs(ref=ref))) == 3


def test_a_document_that_is_cut_is_read_again(service: str, client: Client, png: bytes) -> None:
    batch = client.submit_batch(_numbered(png, 3), "cat").wait()
    with faulty_proxy(service, iter([CUT_HALFWAY, CUT_HALFWAY])) as proxy, Client(proxy.url) as other:
        assert len(other.batch(batch.id).to_coco()["images"]) == 3
        assert len(other.coco(batch.jobs())["images"]) == 3


def test_a_service_that_is_not_there_is_an_error_of_this_package(png: bytes) -> None:
    with Client("http://127.0.0.1:9", retry_for_s=0) as nobody, pytest.raises(ConnectionFailed):
        nobody.submit_batch([png], "cat")


def test_the_async_client_does_the_same(service: str, png: bytes, tmp_path: Path) -> None:
    images = _numbered(png, 6, "async")

    async def main() -> None:
        async with AsyncClient(service) as client:
            batch = await client.submit_batch([*images, b"no image"], "cat", ref="async batch")
            assert (batch.total, batch.refused[0].index) == (6, 6)
            assert sum((await batch.progress()).values()) == 6
            assert (await batch.wait(timeout=30)).counts == {"succeeded": 6}
            jobs = [job async for job in batch.jobs()]
            assert [job.ref for job in jobs] == ["async batch"] * 6
            document = await batch.to_coco()
            _check_coco(document, images, tmp_path)
            assert await client.coco(jobs) == document
            again = await client.batch(batch.id)
            assert again.entries == batch.entries
            await again.delete()
            assert [job async for job in again.jobs()] == []
            with pytest.raises(BatchNotFound, match="deleted"):
                await batch.refresh()
            slow = await client.submit_batch(images, f"{ENDLESS} async")
            assert (await slow.cancel()).has_ended
            with pytest.raises(BatchNotFound):
                await client.batch(str(uuid.uuid4()))

    asyncio.run(main())


def test_a_batch_that_has_ended_is_not_asked_for_again(service: str, client: Client, png: bytes) -> None:
    batch = client.submit_batch([png], "cat").wait()
    with faulty_proxy(service, iter(())) as proxy, Client(proxy.url) as other:
        other.batch(batch.id).wait(timeout=0)
        assert proxy.paths == [f"GET /batches/{batch.id}"]


def _batch(*statuses: str) -> dict[str, Any]:
    jobs = [{"index": number, "id": f"j{number}", "status": status} for number, status in enumerate(statuses)]
    is_ended = not {"queued", "processing"} & set(statuses)
    return {"id": "b", "total": len(jobs), "is_ended": is_ended, "counts": dict(Counter(statuses)), "jobs": jobs}


def test_a_batch_without_unfinished_jobs_is_not_waited_for() -> None:
    incomplete = BatchState({**_batch("succeeded", "expired"), "is_ended": False})  # the rest of it was never sent
    assert incomplete.has_ended


def test_waiting_has_an_end() -> None:
    queued = json.dumps({"id": "j1", "status": "queued"}).encode()
    time = VirtualTime(lambda request: Answer(200, {}, queued))
    operations = BatchOperations(Exchange(0, time.clock), time.clock)
    with pytest.raises(WaitTimeout, match=r"batch b has not ended within 5 s") as caught:
        time.run(operations.batch_ended(BatchState(_batch("succeeded", "queued")), 5))
    assert caught.value.job_id == "b"
    assert {request.path for _, request in time.sent} == {"/jobs/j1"}
    assert 4 <= time.now - 1_000 <= 6


def test_a_job_that_is_deleted_ends_the_wait_for_it() -> None:
    gone = Answer(410, {}, b'{"type": "job_deleted", "title": "t", "detail": ""}')
    rest = Answer(200, {}, json.dumps(_batch("succeeded", "deleted")).encode())
    time = VirtualTime(lambda request: gone if request.path == "/jobs/j1" else rest)
    operations = BatchOperations(Exchange(0, time.clock), time.clock)
    ended = time.run(operations.batch_ended(BatchState(_batch("succeeded", "processing")), None))
    assert (ended.counts, len(time.sent)) == ({"succeeded": 1, "deleted": 1}, 2)
