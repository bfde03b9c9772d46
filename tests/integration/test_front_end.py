"""The front end over HTTP, with a real store and no worker: accepting, refusing, reading and canceling jobs."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx2
import pytest
from PIL import Image
from redis import Redis

from local.broker import free_port
from shared.domain.job import new_job_id
from shared.settings import Settings
from shared.store import key_names
from shared.store.leases import LeaseStore
from testing.factories import failure, segmented_object, success
from testing.pictures import encoded, gradient
from testing.servers import front_end
from tests.jobs import PNG, assert_problem, finish_next, submit

_JPEG = encoded(gradient(300, 200), "JPEG")


# --- Accepting jobs ---------------------------------------------------------------------------------------------------


def test_a_form_is_accepted_and_answered_with_the_job(client: httpx2.Client, leases: LeaseStore) -> None:
    response = submit(client)
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/jobs/{job['id']}"
    assert "retry-after" in response.headers
    assert (job["status"], job["queue_position"], job["prompt"], job["model_id"]) == (
        "queued",
        0,
        "segment cat",
        "demo",
    )
    assert client.get(job["urls"]["self"]).json() == job
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    assert (lease.job.id, lease.image) == (job["id"], PNG)


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_json_with_base64_is_accepted(client: httpx2.Client, leases: LeaseStore, prefix: str) -> None:
    body = {"prompt": "cat ; dog", "image_base64": prefix + base64.b64encode(PNG).decode(), "image_url": None}
    assert client.post("/segment", json=body).status_code == 202
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    assert (lease.image, lease.job.request.prompt) == (PNG, "segment cat ; dog")


def test_an_image_behind_a_url_is_fetched(settings: Settings, leases: LeaseStore, valkey_url: str) -> None:
    open_settings = settings.replace(url_allow_http=True, url_allow_private=True)
    with front_end(open_settings) as url, front_end(settings) as elsewhere:
        refused = httpx2.post(f"{elsewhere}/segment/", data={"prompt": "cat", "image_url": f"{url}/x"}, files={})
        assert_problem(refused, 422, "url_refused")
        answer = httpx2.post(f"{url}/segment/", json={"prompt": "cat", "image_url": f"{elsewhere}/livez"})
        assert_problem(answer, 415, "unsupported_image")  # it was fetched, and it is JSON
        answer = httpx2.post(f"{elsewhere}/segment/", json={"prompt": "cat", "image_url": f"{url}/livez"})
        assert_problem(answer, 422, "url_refused")
    assert leases.claim("demo", is_idle=True) is None


@pytest.mark.parametrize(
    ("value", "formats"),
    [("rle", ["rle"]), ("png,polygon", ["png", "polygon"]), (["crop", "rle", "crop"], ["crop", "rle"])],
)
def test_mask_formats_keep_their_order(
    client: httpx2.Client, leases: LeaseStore, value: str | list[str], formats: list[str]
) -> None:
    assert submit(client, mask_format=value).status_code == 202
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    assert list(lease.job.request.mask_formats) == formats


def test_a_submission_notifies_a_worker_that_is_asleep(
    client: httpx2.Client, leases: LeaseStore, settings: Settings
) -> None:
    assert leases.fall_asleep("demo", "worker-1")
    job_id = submit(client).json()["id"]
    with Redis.from_url(settings.redis.redis_url) as redis:
        popped = redis.blpop(["maskq.demo"], timeout=10)
    assert popped is not None
    message = json.loads(popped[1])
    assert json.loads(base64.b64decode(message["body"]))[0] == [job_id]


def test_each_worker_is_notified_once_and_others_not_at_all(
    client: httpx2.Client, leases: LeaseStore, settings: Settings
) -> None:
    for name in ("worker-1", "worker-2", "worker-2"):
        assert leases.fall_asleep("demo", name)
    for _ in range(6):
        submit(client)
    with Redis.from_url(settings.redis.redis_url) as redis:
        deadline = time.monotonic() + 20
        while redis.llen("maskq.demo") < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert redis.llen("maskq.demo") == 2
    assert not leases.fall_asleep("demo", "worker-1")


def test_a_repeated_request_gets_the_same_job_again(client: httpx2.Client) -> None:
    headers = {"idempotency-key": "5f0c"}
    first, again = (client.post("/segment/", headers=headers, **_form()).json() for _ in range(2))
    assert again["id"] == first["id"]
    assert_problem(client.post("/segment/", headers=headers, **_form(prompt="dog")), 422, "idempotency_mismatch")
    too_long = client.post("/segment/", headers={"idempotency-key": "x" * 256}, **_form())
    assert_problem(too_long, 422, "invalid_field")


def test_timeout_and_priority_are_applied_to_the_job(client: httpx2.Client) -> None:
    job = submit(client, timeout="30", priority="high").json()
    assert job["priority"] == "high"
    created, deadline = (datetime.fromisoformat(job[name]) for name in ("created_at", "deadline_at"))
    assert (deadline - created).total_seconds() == 30
    plain = submit(client).json()
    assert (plain["priority"], plain["deadline_at"]) == ("normal", None)


def test_jobs_are_listed_newest_first(client: httpx2.Client) -> None:
    ids = [submit(client).json()["id"] for _ in range(3)]
    page = client.get("/jobs", params={"limit": 2}).json()
    assert [job["id"] for job in page["jobs"]] == ids[:0:-1]
    rest = client.get("/jobs", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert ([job["id"] for job in rest["jobs"]], rest["next_cursor"]) == (ids[:1], None)
    assert_problem(client.get("/jobs", params={"cursor": "gone"}), 422, "invalid_field")
    assert_problem(client.get("/jobs", params={"limit": 101}), 422, "invalid_field")


def test_jobs_are_listed_by_state_and_reference(client: httpx2.Client) -> None:
    first, second, third = (submit(client, ref=ref).json()["id"] for ref in ("é 1", "é 1", ""))
    client.post(f"/jobs/{first}/cancel").raise_for_status()

    def listed(query: str) -> list[str]:
        return [job["id"] for job in client.get(f"/jobs?{query}").raise_for_status().json()["jobs"]]

    assert listed("status=queued") == [third, second]
    assert listed("status=queued,canceled") == listed("status=queued&status=canceled") == [third, second, first]
    assert listed("ref=%C3%A9%201") == [second, first]
    assert listed("ref=%C3%A9%201&status=canceled") == [first]
    assert listed("ref=%C3%A9") == listed("status=succeeded") == []
    assert listed("status=&ref=") == [third, second, first]
    problem = assert_problem(client.get("/jobs?status=queued,done"), 422, "invalid_field")
    assert problem["detail"].startswith("status: 'done' is none of queued, processing, succeeded")
    assert assert_problem(client.get(f"/jobs?ref={'a' * 201}"), 422, "invalid_field")["detail"].startswith("ref: ")


# --- Bad input --------------------------------------------------------------------------------------------------------


def _form(image: bytes = PNG, **fields: Any) -> dict[str, Any]:
    return {"data": {"prompt": "cat", **fields}, "files": {"image_file": ("a.png", image)}}


def _huge_png() -> bytes:
    return encoded(Image.new("L", (9000, 8000)), compress_level=1)


_BAD_INPUT: dict[str, tuple[dict[str, Any], int, str]] = {
    "no image": ({"files": {"prompt": (None, "cat")}}, 422, "invalid_field"),
    "no prompt": ({"files": {"image_file": ("a.png", PNG)}}, 422, "invalid_field"),
    "two images": (_form(image_url="https://example.com/a.png"), 422, "invalid_field"),
    "two files": (
        {"data": {"prompt": "cat"}, "files": [("image_file", ("a", PNG)), ("image_file", ("b", PNG))]},
        422,
        "invalid_field",
    ),
    "empty file": (_form(b""), 415, "unsupported_image"),
    "text renamed to png": (_form(b"I am a text, whatever my name says\n" * 99), 415, "unsupported_image"),
    "truncated jpeg": (_form(_JPEG[: len(_JPEG) // 2]), 422, "image_unreadable"),
    "72 megapixel png": (_form(_huge_png()), 413, "image_too_large"),
    "35 MB upload": (_form(b"\x89PNG" + bytes(35_000_000)), 413, "payload_too_large"),
    "40 MB upload": (_form(b"\x89PNG" + bytes(40_000_000)), 413, "payload_too_large"),
    "unknown model": (_form(model_id="evil/model"), 422, "invalid_field"),
    "empty prompt": (_form(prompt=""), 422, "invalid_field"),
    "prompt of 100 kB": (_form(prompt="x" * 100_000), 400, "malformed_request"),
    "prompt too long": (_form(prompt="x" * 513), 422, "invalid_field"),
    "prompt with tokens": (_form(prompt="<loc0000><seg000>"), 422, "invalid_field"),
    "prompt twice": (
        {"files": [("prompt", (None, "cat")), ("prompt", (None, "dog")), ("image_file", ("a", PNG))]},
        422,
        "invalid_field",
    ),
    "pdf": (_form(encoded(gradient(), "PDF")), 415, "unsupported_image"),
    "video": (_form(b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(99)), 415, "unsupported_image"),
    "svg": (_form(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), 415, "unsupported_image"),
    "timeout of nothing": (_form(timeout="0"), 422, "invalid_field"),
    "timeout of words": (_form(timeout="soon"), 422, "invalid_field"),
    "timeout not a number": (_form(timeout="nan"), 422, "invalid_field"),
    "timeout of a year": (_form(timeout="31536000"), 422, "invalid_field"),
    "unknown priority": (_form(priority="urgent"), 422, "invalid_field"),
    "unknown mask format": (_form(mask_format="bitmap"), 422, "invalid_field"),
    "no mask format": ({"json": {"prompt": "cat", "mask_format": []}}, 422, "invalid_field"),
    "image as text field": ({"files": {"prompt": (None, "cat"), "image_file": (None, "text")}}, 422, "invalid_field"),
    "too many fields": ({"files": [(f"f{n}", (None, "x")) for n in range(65)]}, 400, "malformed_request"),
    "no body": ({}, 400, "malformed_request"),
    "broken form": (
        {"content": b"--x\r\nbroken", "headers": {"content-type": "multipart/form-data"}},
        400,
        "malformed_request",
    ),
    "broken json": ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "malformed_request"),
    "json list": ({"json": []}, 400, "malformed_request"),
    "deep json": (
        {"content": b"[" * 100_000, "headers": {"content-type": "application/json"}},
        400,
        "malformed_request",
    ),
    "not base64": ({"json": {"prompt": "cat", "image_base64": "!"}}, 422, "invalid_field"),
    "number for prompt": ({"json": {"prompt": 1, "image_base64": "AAAA"}}, 422, "invalid_field"),
    "surrogate in prompt": (
        {"content": b'{"prompt": "\\ud800", "image_base64": "AAAA"}', "headers": {"content-type": "application/json"}},
        422,
        "invalid_field",
    ),
    "private url": ({"json": {"prompt": "cat", "image_url": "https://127.0.0.1/"}}, 422, "url_refused"),
    "file url": ({"json": {"prompt": "cat", "image_url": "file:///etc/passwd"}}, 422, "url_refused"),
}


@pytest.mark.parametrize("name", _BAD_INPUT)
def test_bad_input_is_refused_with_a_problem_and_the_service_continues(client: httpx2.Client, name: str) -> None:
    request, status, code = _BAD_INPUT[name]
    assert_problem(client.post("/segment/", **request), status, code)
    assert submit(client).json()["queue_position"] == 0  # the bad job was not queued, and a good one is


@pytest.mark.parametrize("file_format", ["GIF", "BMP", "TIFF", "AVIF", "HEIC", "WEBP"])
def test_every_format_is_accepted(client: httpx2.Client, file_format: str) -> None:
    assert client.post("/segment/", **_form(encoded(gradient(), file_format))).status_code == 202


def test_a_motion_photo_and_a_photo_without_its_end_are_accepted(client: httpx2.Client) -> None:
    for image in (_JPEG + b"\0\0\0\x18ftypmp42" + b"\xff\xda" * 1_000, _JPEG[:-2]):
        assert client.post("/segment/", **_form(image)).status_code == 202


def test_a_refusal_names_what_was_sent(client: httpx2.Client) -> None:
    problem = client.post("/segment/", **_form(b"<!doctype html><title>404</title>")).json()
    assert problem["detail"].startswith("this is an HTML page, not an image; send JPEG, PNG")


def test_an_image_of_one_pixel_is_accepted(client: httpx2.Client) -> None:
    assert client.post("/segment/", **_form(encoded(Image.new("RGB", (1, 1))))).status_code == 202


def test_a_body_without_a_length_is_bounded_while_it_streams(client: httpx2.Client) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="image_file"; filename="a"\r\n\r\n'
        while sent < 200_000_000:
            sent += 100_000
            yield bytes(100_000)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    try:
        response = client.post("/segment/", content=endless(), headers=headers)
    except httpx2.TransportError:  # the server may disconnect while the client is still sending
        pass
    else:
        assert_problem(response, 413, "payload_too_large")
    assert sent < 100_000_000
    assert submit(client).status_code == 202


@pytest.mark.parametrize(
    "path",
    ["/jobs/xyz", "/jobs/%00", "/jobs/0197a2b45c6d7e8f9a0b1c2d3e4f5a6b", "/jobs/01a227a2-79b5-7313-87b2-97802485df1f"],
)
def test_an_unknown_job_id_is_not_found(client: httpx2.Client, path: str) -> None:
    assert_problem(client.get(path), 404, "job_not_found")


@pytest.mark.parametrize("wait", ["-1", "61", "nan", "inf", "soon"])
def test_a_wait_out_of_range_is_refused(client: httpx2.Client, wait: str) -> None:
    job_id = submit(client).json()["id"]
    assert_problem(client.get(f"/jobs/{job_id}", params={"wait": wait}), 422, "invalid_field")


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/segment/", 405)])
def test_unknown_paths_and_methods_are_answered_with_problems(
    client: httpx2.Client, method: str, path: str, status: int
) -> None:
    response = client.request(method, path)
    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code == status


def test_a_method_that_a_path_lacks_is_answered_with_all_that_it_has(client: httpx2.Client) -> None:
    response = client.put(f"/jobs/{new_job_id()}")
    assert_problem(response, 405, "method_not_allowed")
    assert {each.strip() for each in response.headers["allow"].split(",")} == {"DELETE", "GET", "HEAD"}


def test_a_full_queue_is_refused_with_retry_after(settings: Settings) -> None:
    with front_end(settings.replace(max_queued_jobs=1)) as url, httpx2.Client(base_url=url) as client:
        assert submit(client).status_code == 202
        for address, problem in (("127.0.0.1", "share_exceeded"), ("192.0.2.1", "queue_full")):
            response = submit(client, headers={"X-Forwarded-For": address})
            assert_problem(response, 429, problem)
            assert int(response.headers["retry-after"]) > 0


# --- Reading and canceling jobs ---------------------------------------------------------------------------------------


def test_a_wait_that_ends_returns_the_current_state(client: httpx2.Client) -> None:
    job_id = submit(client).json()["id"]
    response = client.get(f"/jobs/{job_id}", params={"wait": 0.1})
    assert (response.json()["status"], "retry-after" in response.headers) == ("queued", True)


def test_a_finished_job_has_a_result_and_an_overlay(client: httpx2.Client, leases: LeaseStore) -> None:
    job = submit(client).json()
    assert_problem(client.get(job["urls"]["overlay"]), 409, "result_not_ready")
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    leases.finish(lease, success(segmented_object()))
    response = client.get(job["urls"]["self"], params={"wait": 10})
    done = response.json()
    assert (done["status"], done["error"], "retry-after" in response.headers) == ("succeeded", None, False)
    assert done["result"]["objects"][0]["mask"] == {"format": "rle", "size": [48, 64], "counts": "0PP3"}
    picture = client.get(job["urls"]["overlay"])
    assert picture.headers["content-type"] == "image/png"
    assert picture.content.startswith(b"\x89PNG")


def test_the_overlay_expires_with_the_image(client: httpx2.Client, leases: LeaseStore, settings: Settings) -> None:
    job = submit(client).json()
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    leases.finish(lease, success(segmented_object()))
    with Redis.from_url(settings.redis.redis_url) as redis:
        redis.delete(key_names.image(job["id"]))
        assert_problem(client.get(job["urls"]["overlay"]), 410, "image_expired")
        redis.delete(key_names.job(job["id"]))
    assert_problem(client.get(job["urls"]["self"]), 410, "job_expired")


def test_a_failed_job_shows_its_error(client: httpx2.Client, leases: LeaseStore) -> None:
    job = submit(client).json()
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    leases.finish(lease, failure(type="image_unreadable"))
    shown = client.get(job["urls"]["self"]).json()
    assert (shown["status"], shown["error"]) == ("failed", {"type": "image_unreadable", "detail": "why"})


def test_a_queued_job_is_canceled_once(client: httpx2.Client) -> None:
    job = submit(client).json()
    response = client.post(job["urls"]["cancel"])
    assert (response.status_code, response.json()["status"]) == (202, "canceled")
    assert_problem(client.post(job["urls"]["cancel"]), 409, "job_ended")
    assert_problem(client.post(f"/jobs/{new_job_id()}/cancel"), 404, "job_not_found")


def test_a_deleted_job_is_gone_for_all_who_use_it(client: httpx2.Client, leases: LeaseStore) -> None:
    jobs = [submit(client).json() for _ in range(3)]
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(client.get, jobs[0]["urls"]["self"], params={"wait": 50})
        stream = threads.submit(client.get, jobs[0]["urls"]["events"])
        for job in jobs[:2]:
            response = client.delete(job["urls"]["self"])
            assert (response.status_code, response.content) == (204, b"")
        assert_problem(waiting.result(), 410, "job_deleted")
        assert stream.result().status_code in (200, 410)  # it ends
    assert not leases.finish(lease, success(segmented_object()))
    for path in ("", "/result", "/overlay.png", "/masks/0.png", "/events", "/webhooks"):
        assert_problem(client.get(jobs[0]["urls"]["self"] + path), 410, "job_deleted")
    assert_problem(client.delete(jobs[0]["urls"]["self"]), 410, "job_deleted")
    assert_problem(client.post(jobs[1]["urls"]["cancel"]), 410, "job_deleted")
    assert_problem(client.delete(f"/jobs/{new_job_id()}"), 404, "job_not_found")
    assert [job["id"] for job in client.get("/jobs").json()["jobs"]] == [jobs[2]["id"]]


def test_a_finished_job_is_deleted_with_its_result(client: httpx2.Client, leases: LeaseStore) -> None:
    job = submit(client).json()
    finish_next(leases)
    assert client.get(job["urls"]["result"]).status_code == 200
    assert client.delete(job["urls"]["self"]).status_code == 204
    assert_problem(client.get(job["urls"]["result"]), 410, "job_deleted")


# --- Query parameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        ("POST", "/segment/?prompt=cat", "prompt: unknown query parameter; this request has none"),
        (
            "POST",
            "/segment?api_key=maskq_1",
            "api_key: unknown query parameter; did you mean the header Authorization?",
        ),
        (
            "GET",
            "/jobs?limt=2&x=1",
            "limt: unknown query parameter; did you mean limit?; x: unknown query parameter; kno",
        ),
        ("GET", "/jobs?page=2", "page: unknown query parameter; did you mean cursor?"),
        ("GET", "/jobs/{id}?timeout=2", "timeout: unknown query parameter; did you mean wait?"),
        ("GET", "/jobs/{id}/result?formt=coco", "formt: unknown query parameter; did you mean format?"),
        ("GET", "/jobs/{id}/events?wait=1", "wait: unknown query parameter; this request has none"),
        ("POST", "/jobs/{id}/cancel?force=1", "force: unknown query parameter; this request has none"),
        ("DELETE", "/jobs/{id}?force=1", "force: unknown query parameter; this request has none"),
    ],
)
def test_an_unknown_query_parameter_is_refused_with_the_nearest(
    client: httpx2.Client, method: str, path: str, detail: str
) -> None:
    job_id = submit(client).json()["id"]
    response = client.request(method, path.replace("{id}", job_id))
    assert assert_problem(response, 422, "invalid_field")["detail"].startswith(detail)
    assert client.get(f"/jobs/{job_id}").json()["status"] == "queued"


# --- Other routes -----------------------------------------------------------------------------------------------------


def test_models_and_readiness_count_live_workers(client: httpx2.Client, leases: LeaseStore) -> None:
    assert client.get("/readyz").json() == {"store": True, "live_workers": {"demo": 0}}
    leases.heartbeat("demo", "someone")
    assert client.get("/readyz").json()["live_workers"] == {"demo": 1}
    (model,) = client.get("/models").json()
    assert (model["id"], model["resolution"], model["live_workers"]) == ("demo", 224, 1)


def test_the_index_is_a_page_for_people_and_json_for_programs(client: httpx2.Client) -> None:
    assert client.get("/").json()["name"] == "maskq"
    page = client.get("/", headers={"accept": "text/html,application/xhtml+xml"})
    assert page.headers["content-type"].startswith("text/html")
    assert "<form" in page.text


def test_the_openapi_document_shows_both_bodies(client: httpx2.Client) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/segment/"]["post"]
    assert set(operation["requestBody"]["content"]) == {
        "multipart/form-data",
        "application/json",
        "application/x-www-form-urlencoded",
    }


def test_without_redis_the_front_end_is_alive_and_not_ready() -> None:
    nowhere = Settings.of(redis_url=f"redis://127.0.0.1:{free_port()}/0", redis_timeout_s=0.5)
    with front_end(nowhere) as url, httpx2.Client(base_url=url, timeout=20) as client:
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503
        response = submit(client)
        assert_problem(response, 503, "store_unavailable")
        assert int(response.headers["retry-after"]) > 0
