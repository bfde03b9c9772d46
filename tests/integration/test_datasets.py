"""One COCO document of many jobs, over HTTP with a real Redis, read by pycocotools."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psutil
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.domain.api_key import Scope
from shared.domain.job import new_job_id
from shared.domain.result import RleMask, SegmentedObject, Skipped
from shared.settings import Settings
from shared.store import key_names
from shared.store.api_keys import ApiKeyStore
from shared.store.leases import LeaseStore, Outcome
from shared.store.submissions import SubmissionStore
from testing.factories import failure, segmentation_result, segmented_object
from testing.fleet import Fleet
from testing.servers import front_end
from tests.jobs import PNG, assert_problem

_SIZE = (48, 64)
_KEY = {"Idempotency-Key": "k"}


def _object(label: str | None, seed: int) -> SegmentedObject:
    """An object whose mask has single pixels and holes."""
    inside = np.asfortranarray(np.random.default_rng(seed).random(_SIZE) < 0.3, dtype=np.uint8)
    mask = RleMask(size=_SIZE, counts=coco_mask.encode(inside)["counts"].decode())
    return segmented_object(label=label, score=0.5, area=int(inside.sum()), mask=mask)


_BOX = segmented_object(label="box", box=(1, 2, 11, 22), area=0, mask=None)
_RESULTS = [
    [_object("cat", 1), _object("dog", 2)],
    [],
    [_object("dog", 3), _object(None, 4), _BOX, _object("cat", 5)],
]


def _batch(client: httpx2.Client, *names: str, **fields: Any) -> dict[str, Any]:
    files = [("image_file", (name, PNG)) for name in names]
    answer = client.post("/batches", data={"prompt": "cat", **fields}, files=files, headers=_KEY)
    batch: dict[str, Any] = answer.raise_for_status().json()
    return batch


def _finish(leases: LeaseStore, *outcomes: Outcome) -> None:
    """Claim as many jobs as there are outcomes, and end each with its own."""
    for outcome in outcomes:
        lease = leases.claim("demo", is_idle=True)
        assert lease is not None
        assert leases.finish(lease, outcome)


def _found(*objects: SegmentedObject, **values: Any) -> Outcome:
    return Outcome(result=segmentation_result(*objects, **values))


_LARGE = _found(
    *[segmented_object(mask=RleMask(size=(1_000, 1_000), counts="1" * 50_000))] * 20, width=1_000, height=1_000
)
"""A result of 1 MB."""


def _coco(answer: httpx2.Response, folder: Path) -> tuple[dict[str, Any], COCO]:
    """The document, and how pycocotools reads its file."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    path = folder / "coco.json"
    path.write_bytes(answer.content)
    return answer.json(), COCO(str(path))


def _post(client: httpx2.Client, *ids: str) -> httpx2.Response:
    return client.post("/jobs/coco", json={"jobs": ids})


@pytest.fixture
def finished(client: httpx2.Client, leases: LeaseStore) -> dict[str, Any]:
    """A batch of three jobs that have succeeded with `_RESULTS`."""
    batch = _batch(client, "a.png", "b.png", "sub/é.png", ref="scan-7")
    _finish(leases, *(_found(*objects) for objects in _RESULTS))
    return batch


@pytest.mark.parametrize("route", ["batch", "jobs"])
def test_pycocotools_reads_every_mask_of_every_job(
    client: httpx2.Client, finished: dict[str, Any], tmp_path: Path, route: str
) -> None:
    ids = [job["id"] for job in finished["jobs"]]
    answer = client.get(f"/batches/{finished['id']}/coco") if route == "batch" else _post(client, *ids)
    document, data_set = _coco(answer, tmp_path)
    assert [image["job_id"] for image in document["images"]] == ids
    assert [image["id"] for image in document["images"]] == [1, 2, 3]
    assert [image["file_name"] for image in document["images"]] == ["a.png", "b.png", "é.png"]
    assert {image["ref"] for image in document["images"]} == {"scan-7"}
    assert [each["id"] for each in document["annotations"]] == [1, 2, 3, 4, 5, 6]
    assert [each["name"] for each in document["categories"]] == ["cat", "dog", "unknown", "box"]
    assert document["info"]["skipped"] == []
    names = {each["id"]: each["name"] for each in document["categories"]}
    for image in document["images"]:
        objects = client.get(f"/jobs/{image['job_id']}").json()["result"]["objects"]
        annotations = data_set.loadAnns(data_set.getAnnIds(imgIds=[image["id"]]))
        assert len(annotations) == len(objects)
        for annotation, found in zip(annotations, objects, strict=True):
            assert names[annotation["category_id"]] == (found["label"] or "unknown")
            if found["mask"] is None:
                assert annotation["segmentation"] == []
                continue
            expected = coco_mask.decode({"size": found["mask"]["size"], "counts": found["mask"]["counts"]})
            assert (data_set.annToMask(annotation) == expected).all()
            assert annotation["area"] == expected.sum()


def test_one_job_has_the_same_annotations_in_its_own_document(client: httpx2.Client, finished: dict[str, Any]) -> None:
    job_id = finished["jobs"][2]["id"]
    own = client.get(f"/jobs/{job_id}/result?format=coco").json()
    document = _post(client, job_id).json()
    assert document["annotations"] == own["annotations"]
    assert document["categories"] == own["categories"]
    assert document["info"] == {**own["info"], "skipped": []}
    assert document["images"] == [{**own["images"][0], "truncated": False, "skipped": []}]


def test_jobs_without_a_result_are_named_with_the_reason(
    client: httpx2.Client, leases: LeaseStore, settings: Settings, tmp_path: Path
) -> None:
    batch = _batch(client, *(f"{number}.png" for number in range(7)), ref="r")
    ids = [job["id"] for job in batch["jobs"]]
    _finish(leases, _found(_object("cat", 1)), failure(), _found(), _found())
    client.delete(f"/jobs/{ids[2]}").raise_for_status()
    with Redis.from_url(settings.redis.redis_url) as redis:
        redis.delete(key_names.job(ids[3]), key_names.result(ids[3]))
    assert leases.claim("demo", is_idle=True) is not None
    client.post(f"/jobs/{ids[6]}/cancel").raise_for_status()
    document, data_set = _coco(client.get(f"/batches/{batch['id']}/coco"), tmp_path)
    assert len(data_set.getAnnIds()) == 1
    assert [image["job_id"] for image in document["images"]] == ids[:1]
    reasons = ["failed", "deleted", "expired", "processing", "queued", "canceled"]
    skipped = document["info"]["skipped"]
    assert [(each["job_id"], each["reason"]) for each in skipped] == list(zip(ids[1:], reasons, strict=True))
    assert [each.get("file_name") for each in skipped] == ["1.png", None, None, "4.png", "5.png", "6.png"]
    assert [each.get("ref") for each in skipped] == ["r", None, None, "r", "r", "r"]
    assert [each.get("error") for each in skipped] == [{"type": "inference_failed", "detail": "why"}, *[None] * 5]


def test_what_may_be_missing_in_an_image_is_said_there(client: httpx2.Client, leases: LeaseStore) -> None:
    batch = _batch(client, "a.png", "b.png")
    skipped = Skipped(reason="empty_box", text="<loc0001>")
    _finish(leases, _found(truncated=True, skipped=[skipped]), _found())
    images = client.get(f"/batches/{batch['id']}/coco").json()["images"]
    assert [image["truncated"] for image in images] == [True, False]
    assert [image["skipped"] for image in images] == [[skipped.model_dump()], []]


def test_jobs_are_in_the_order_of_the_request_and_each_once(client: httpx2.Client, finished: dict[str, Any]) -> None:
    first, second, third = [job["id"] for job in finished["jobs"]]
    unknown = new_job_id()
    document = _post(client, third, unknown, first, third, second).json()
    assert [image["job_id"] for image in document["images"]] == [third, first, second]
    assert [each["name"] for each in document["categories"]] == ["dog", "unknown", "box", "cat"]
    skipped = [(each["job_id"], each["reason"]) for each in document["info"]["skipped"]]
    assert skipped == [(unknown, "not_found")]


def test_a_document_without_any_result_is_one(client: httpx2.Client, tmp_path: Path) -> None:
    batch = _batch(client, "a.png")
    document, data_set = _coco(client.get(f"/batches/{batch['id']}/coco"), tmp_path)
    assert (data_set.getAnnIds(), document["images"], document["categories"]) == ([], [], [])
    assert document["info"]["skipped"][0]["reason"] == "queued"


def test_the_tag_of_a_batch_changes_with_its_jobs(client: httpx2.Client, leases: LeaseStore) -> None:
    url = f"/batches/{_batch(client, 'a.png', 'b.png')['id']}/coco"
    tags = []
    for outcome in (_found(_BOX), failure()):
        tags.append(client.get(url).headers["etag"])
        assert client.get(url, headers={"If-None-Match": tags[-1]}).status_code == 304
        _finish(leases, outcome)
        assert client.get(url, headers={"If-None-Match": tags[-1]}).status_code == 200
    get, head = client.get(url), client.head(url)
    assert get.headers["etag"] not in tags
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", get.headers["etag"])
    assert "content-length" not in head.headers
    assert client.head(url, headers={"If-None-Match": get.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_request"),
        (b"[]", 400, "malformed_request"),
        (b'{"jobs":["' + b"a" * 140_000 + b'"]}', 400, "malformed_request"),
        (b"{}", 422, "invalid_field"),
        (b'{"jobs":[]}', 422, "invalid_field"),
        (b'{"jobs":"x"}', 422, "invalid_field"),
        (b'{"jobs":[1]}', 422, "invalid_field"),
        (b'{"jobs":["../x"]}', 422, "invalid_field"),
        (b'{"jobs":["01a20e31-bb82-7b62-9b6a-7bb795e56a5f"],"job":1}', 422, "invalid_field"),
    ],
)
def test_a_wrong_body_is_refused(client: httpx2.Client, body: bytes, status: int, code: str) -> None:
    assert_problem(client.post("/jobs/coco", content=body), status, code)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"ids": ["x"]}, "ids: unknown field; did you mean jobs?"),
        ({"job_ids": ["x"]}, "job_ids: unknown field; did you mean jobs?"),
        ({"jobs": ["x"], "format": "coco"}, "format: unknown field; known: jobs"),
        ({"jobs": ["x"]}, "jobs.0: must be the id of a job"),
        ({"jobs": ["\ud800"], "\ud800": 1}, "\\ud800: unknown field; known: jobs"),
    ],
)
def test_a_wrong_body_is_answered_with_the_right_one(client: httpx2.Client, body: object, reason: str) -> None:
    answer = client.post("/jobs/coco", content=json.dumps(body))
    assert assert_problem(answer, 422, "invalid_field")["detail"] == reason


def test_the_path_has_methods_of_its_own(client: httpx2.Client) -> None:
    assert client.options("/jobs/coco").headers["allow"] == "POST"
    assert client.options(f"/batches/{new_job_id()}/coco").headers["allow"] == "GET, HEAD"


def test_as_many_jobs_as_a_batch_may_have_are_accepted(settings: Settings) -> None:
    ids = [new_job_id() for _ in range(1_001)]
    with front_end(settings.replace(max_batch_images=1_000)) as url, httpx2.Client(base_url=url, timeout=60) as client:
        skipped = _post(client, *ids[1:]).json()["info"]["skipped"]
        assert [each["job_id"] for each in skipped] == ids[1:]
        assert len(_post(client, *[*ids[1:], *ids[1:]]).json()["info"]["skipped"]) == 1_000
        assert_problem(_post(client, *ids), 422, "invalid_field")


@pytest.mark.slow
def test_a_large_document_takes_the_memory_of_one_job(tmp_path: Path) -> None:
    with Fleet(tmp_path / "fleet", workers=0, deliverers=0) as fleet:
        store = LeaseStore.connect(Settings.of(redis_url=fleet.broker_url))
        with httpx2.Client(base_url=fleet.url, timeout=60) as client:
            batch = _batch(client, *(f"{number}.png" for number in range(100)))
            _finish(store, *[_LARGE] * 100)
            assert fleet.api.process is not None
            process = psutil.Process(fleet.api.process.pid)
            client.get(f"/jobs/{batch['jobs'][0]['id']}/result?format=coco").raise_for_status()
            size, most_bytes, before = 0, 0, process.memory_info().rss
            with client.stream("GET", f"/batches/{batch['id']}/coco") as answer:
                for piece in answer.iter_raw():
                    size += len(piece)
                    most_bytes = max(most_bytes, process.memory_info().rss)
        store.close()
    assert size > 100_000_000
    assert most_bytes - before < 40_000_000


def test_an_unknown_batch_has_no_document(client: httpx2.Client) -> None:
    assert_problem(client.get("/batches/x/coco"), 404, "batch_not_found")
    assert_problem(client.get(f"/batches/{new_job_id()}/coco"), 404, "batch_not_found")


def test_a_store_that_fails_meanwhile_cuts_the_document(
    client: httpx2.Client, finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [job["id"] for job in finished["jobs"]]
    read = SubmissionStore.read

    async def read_until_last(self: SubmissionStore, job_id: str, *, with_result: bool = True) -> Any:
        if job_id == ids[-1]:
            raise RedisConnectionError
        return await read(self, job_id, with_result=with_result)

    monkeypatch.setattr(SubmissionStore, "read", read_until_last)
    with pytest.raises(httpx2.RemoteProtocolError):
        _post(client, *ids)
    assert_problem(_post(client, ids[-1]), 503, "store_unavailable")
    monkeypatch.undo()
    assert len(_post(client, *ids).json()["images"]) == 3


# --- With keys --------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(settings: Settings) -> Iterator[str]:
    """The address of a front end that requires keys."""
    with front_end(settings.replace(require_keys=True)) as url:
        yield url


def _as(url: str, settings: Settings, *scopes: Scope) -> httpx2.Client:
    async def make() -> str:
        store = ApiKeyStore.connect(settings.redis)
        try:
            return (await store.create("somebody", scopes))[1]
        finally:
            await store.close()

    return httpx2.Client(base_url=url, timeout=20, headers={"Authorization": f"Bearer {asyncio.run(make())}"})


def test_callers_get_their_own_jobs_only(guarded: str, settings: Settings, leases: LeaseStore) -> None:
    both = (Scope.SUBMIT, Scope.READ)
    with (
        _as(guarded, settings, *both) as mine,
        _as(guarded, settings, *both) as other,
        _as(guarded, settings, Scope.ADMIN) as admin,
    ):
        batch = _batch(mine, "a.png")
        _finish(leases, _found(_BOX))
        (job,) = batch["jobs"]
        url = f"/batches/{batch['id']}/coco"
        assert_problem(other.get(url), 404, "batch_not_found")
        theirs = _post(other, job["id"]).json()
        assert (theirs["images"], theirs["annotations"]) == ([], [])
        assert theirs["info"]["skipped"] == _post(other, job["id"]).json()["info"]["skipped"]
        assert [each["reason"] for each in theirs["info"]["skipped"]] == ["not_found"]
        assert "a.png" not in json.dumps(theirs)
        for client in (mine, admin):
            assert len(client.get(url).json()["images"]) == len(_post(client, job["id"]).json()["images"]) == 1


@pytest.mark.slow
def test_a_client_that_does_not_read_leaves_room_for_others(
    guarded: str, settings: Settings, leases: LeaseStore
) -> None:
    both = (Scope.SUBMIT, Scope.READ)
    with _as(guarded, settings, *both) as greedy, _as(guarded, settings, *both) as other, ExitStack() as unread:
        url = _large_batch(greedy, leases)
        for _ in range(12):
            assert unread.enter_context(greedy.stream("GET", url)).status_code == 200
        assert_problem(greedy.get(url), 429, "share_exceeded")
        assert len(other.get(_large_batch(other, leases)).json()["images"]) == 30


@pytest.mark.slow
def test_a_key_that_is_revoked_gets_no_further_job(guarded: str, settings: Settings, leases: LeaseStore) -> None:
    with _as(guarded, settings, Scope.SUBMIT, Scope.READ) as client:
        url = _large_batch(client, leases)
        with client.stream("GET", url) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            asyncio.run(_revoke_all(settings))
            with pytest.raises(httpx2.RemoteProtocolError):
                list(pieces)


def _large_batch(client: httpx2.Client, leases: LeaseStore) -> str:
    """The path of a document that is too large to be sent before it is read."""
    batch = _batch(client, *(f"{number}.png" for number in range(30)))
    _finish(leases, *[_LARGE] * 30)
    return f"/batches/{batch['id']}/coco"


async def _revoke_all(settings: Settings) -> None:
    store = ApiKeyStore.connect(settings.redis)
    try:
        for key in await store.list():
            await store.revoke(key.id)
    finally:
        await store.close()


def test_a_document_needs_the_scope_read_and_is_a_heavy_read(guarded: str, settings: Settings) -> None:
    with _as(guarded, settings, Scope.SUBMIT) as client:
        assert_problem(_post(client, new_job_id()), 403, "scope_missing")
        assert_problem(client.get(f"/batches/{new_job_id()}/coco"), 403, "scope_missing")
    with _as(guarded, settings, Scope.SUBMIT, Scope.READ) as client:
        url = f"/batches/{_batch(client, 'a.png')['id']}/coco"
        for answer in (client.get(url), _post(client, new_job_id())):
            assert answer.headers["ratelimit-policy"].startswith('"read"')
            assert int(re.findall(r"r=(\d+)", answer.headers["ratelimit"])[0]) <= 1_990
