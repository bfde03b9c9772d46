"""What POST /batches reads: forms of any size and order, zips, URLs; and how little of it is in memory."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar

import httpx2
import pytest

from shared.settings import Settings
from testing.pictures import encoded, gradient
from testing.servers import front_end, website
from tests.jobs import PNG, assert_problem

KEY = {"Idempotency-Key": "k"}
LARGE = encoded(gradient(64, 48), "BMP") + bytes(700_000)
"""A usable image of 0.7 MB."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Uploads of 1 MB at most, and memory for three of them."""
    return settings.replace(max_image_bytes=1_000_000, upload_memory_bytes=8_000_000, max_queued_jobs=5_000)


def zipped(*names: str, content: bytes = PNG) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return made.getvalue()


def post(client: httpx2.Client, *files: tuple[str, bytes], key: str = "k", **fields: Any) -> httpx2.Response:
    parts = [("image_file", file) for file in files]
    headers = {"Idempotency-Key": key}
    return client.post("/batches", data={"prompt": "cat", **fields}, files=parts, headers=headers)


def form(*parts: tuple[str, bytes]) -> dict[str, Any]:
    """A form with its parts in this order, for `post`."""
    body = b""
    for name, content in parts:
        file = '; filename="a.png"' if name == "image_file" else ""
        body += f'--b\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return {"content": body + b"--b--\r\n", "headers": {**KEY, "Content-Type": "multipart/form-data; boundary=b"}}


def file_names(client: httpx2.Client, batch: dict[str, Any]) -> list[str]:
    return [client.get(f"/jobs/{job['id']}").json()["file_name"] for job in batch["jobs"]]


# --- Forms ------------------------------------------------------------------------------------------------------------


def test_the_parts_of_a_small_form_may_come_in_any_order(client: httpx2.Client) -> None:
    parts = form(("image_file", PNG), ("prompt", b"cat"), ("image_file", PNG), ("ref", b"r"))
    batch = client.post("/batches", **parts).json()
    assert (batch["total"], batch["ref"]) == (2, "r")
    assert client.get(f"/jobs/{batch['jobs'][0]['id']}").json()["prompt"] == "segment cat"


def test_in_a_large_form_the_fields_come_before_the_images(client: httpx2.Client) -> None:
    images = [("image_file", LARGE)] * 3
    late = client.post("/batches", **form(*images, ("prompt", b"cat")))
    assert_problem(late, 422, "invalid_field")
    later = client.post("/batches", **form(("prompt", b"cat"), *images, ("ref", b"r")))
    problem = assert_problem(later, 422, "invalid_field")
    assert "ref: in a form of this size, send it before the first image" in problem["detail"]
    assert client.get(later.headers["location"]).json()["is_complete"] is False


@pytest.mark.slow
def test_a_batch_that_is_larger_than_the_memory_for_images_is_accepted(settings: Settings) -> None:
    with front_end(settings) as url, httpx2.Client(base_url=url, timeout=60) as client:
        batch = post(client, *[(f"{number}.bmp", LARGE) for number in range(40)])
        assert batch.status_code == 202, batch.text
        assert batch.json()["total"] == 40
        assert 40 * len(LARGE) > settings.submissions.upload_memory_bytes
        assert batch.json() == post(client, *[(f"{number}.bmp", LARGE) for number in range(40)]).json()


@pytest.mark.slow
def test_1000_images_are_one_request(client: httpx2.Client) -> None:
    batch = post(client, *[(f"{number}.png", PNG) for number in range(1_000)])
    assert batch.status_code == 202, batch.text
    assert (batch.json()["total"], batch.json()["counts"]) == (1_000, {"queued": 1_000})
    assert len({job["id"] for job in batch.json()["jobs"]}) == 1_000


def test_a_file_that_is_too_large_refuses_no_other(client: httpx2.Client) -> None:
    batch = post(client, ("a.png", PNG), ("b.png", bytes(3_000_000)), ("c.png", PNG)).json()
    assert [job["index"] for job in batch["jobs"]] == [0, 2]
    (refused,) = batch["refused"]
    assert (refused["index"], refused["file_name"], refused["type"]) == (1, "b.png", "payload_too_large")


def test_more_images_than_allowed_are_refused_and_the_batch_is_named(settings: Settings) -> None:
    with front_end(settings.replace(max_batch_images=2)) as url, httpx2.Client(base_url=url) as client:
        answer = post(client, *[("a.png", PNG)] * 3)
        assert "more than 2 images" in assert_problem(answer, 422, "invalid_field")["detail"]
        assert client.get(answer.headers["location"]).json()["total"] == 2


@pytest.mark.parametrize("name", ["file", "files", "image", "images", "image_file[]", "image_files", "zip"])
def test_a_large_file_in_a_field_of_another_name_is_answered_with_the_right_one(
    client: httpx2.Client, name: str
) -> None:
    answer = client.post("/batches", **form(("prompt", b"cat"), (name, LARGE)))
    problem = assert_problem(answer, 422, "invalid_field")
    assert problem["detail"] == f"{name}: unknown field; did you mean image_file or image_url?"


def test_a_form_that_ends_too_early_leaves_the_batch_open(client: httpx2.Client) -> None:
    whole = form(("prompt", b"cat"), *[("image_file", LARGE)] * 3)
    cut = client.post("/batches", **{**whole, "content": whole["content"][: len(LARGE) * 5 // 2]})
    assert_problem(cut, 400, "malformed_request")
    batch = client.get(cut.headers["location"]).json()
    assert (batch["total"], batch["is_complete"]) == (2, False)
    again = client.post("/batches", **whole).json()
    assert (again["id"], again["total"], again["is_complete"]) == (batch["id"], 3, True)
    assert again["jobs"][:2] == batch["jobs"]


# --- Zips -------------------------------------------------------------------------------------------------------------


def test_a_zip_in_a_form_counts_as_its_images(client: httpx2.Client) -> None:
    archive = zipped("x/1.png", "__MACOSX/1.png", "../2.png", "x/")
    batch = post(client, ("0.png", PNG), ("images.zip", archive), ("3.png", PNG)).json()
    assert file_names(client, batch) == ["0.png", "1.png", "2.png", "3.png"]
    assert post(client, ("0.png", PNG), ("images.zip", archive), ("3.png", PNG)).json() == batch


def test_a_zip_is_a_body_with_its_fields_in_the_query(client: httpx2.Client) -> None:
    headers = {**KEY, "Content-Type": "application/zip"}
    query = {"prompt": "cat", "mask_format": ["rle", "png"]}
    batch = client.post("/batches", params=query, content=zipped("1.png", "2.png"), headers=headers)
    assert batch.status_code == 202, batch.text
    assert file_names(client, batch.json()) == ["1.png", "2.png"]
    wrong = client.post("/batches", params={"promt": "cat"}, content=zipped("1.png"), headers=headers)
    assert "prompt" in assert_problem(wrong, 422, "invalid_field")["detail"]
    in_query = client.post("/batches", params={"prompt": "cat"}, files=[("image_file", PNG)], headers=KEY)
    assert_problem(in_query, 422, "invalid_field")


def test_a_file_in_a_zip_that_cannot_be_used_is_named(client: httpx2.Client) -> None:
    archive = zipped("a.png", "b.txt")
    batch = post(client, ("i.zip", archive), ("j.zip", zipped("bomb.bmp", content=b""))).json()
    assert batch["total"] == 2  # the text is a PNG, whatever its name
    (refused,) = batch["refused"]
    assert (refused["index"], refused["file_name"]) == (2, "bomb.bmp")


@pytest.mark.parametrize("content", [b"PK\x03\x04" + bytes(100), zipped()], ids=["damaged", "empty"])
def test_a_zip_without_an_image_is_refused(client: httpx2.Client, content: bytes) -> None:
    answer = post(client, ("a.zip", content))
    assert answer.status_code in (400, 422), answer.text


def test_a_zip_that_is_too_large_is_refused(client: httpx2.Client) -> None:
    assert post(client, ("a.zip", zipped("a.bmp", "b.bmp", content=LARGE))).json()["total"] == 2
    answer = post(client, ("a.zip", zipped("a.bmp", "b.bmp", "c.bmp", content=LARGE)), ref="another", key="l")
    problem = assert_problem(answer, 422, "batch_refused")
    assert "(a.zip): payload_too_large" in problem["detail"]


# --- URLs -------------------------------------------------------------------------------------------------------------


class _Images(BaseHTTPRequestHandler):
    fetched: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.fetched.append(self.path)
        self.send_response(404 if "missing" in self.path else 200)
        self.send_header("Content-Length", str(len(PNG)))
        self.end_headers()
        self.wfile.write(PNG)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def images() -> Iterator[str]:
    _Images.fetched.clear()
    with website(_Images) as url:
        yield url


@pytest.fixture
def open_client(settings: Settings) -> Iterator[httpx2.Client]:
    """A client of a front end that fetches from this machine."""
    fetching = settings.replace(url_allow_http=True, url_allow_private=True)
    with front_end(fetching) as url, httpx2.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.mark.parametrize("as_json", [True, False])
def test_images_behind_urls_are_fetched_once(open_client: httpx2.Client, images: str, as_json: bool) -> None:
    urls = [f"{images}/{number}.png" for number in range(5)] + [f"{images}/missing.png"]
    fields = {"prompt": "cat", "image_url": urls}
    body: dict[str, Any] = {"json": fields} if as_json else {"data": fields, "files": [("ref", (None, b"r"))]}
    batch = open_client.post("/batches", **body, headers=KEY).json()
    assert file_names(open_client, batch) == [f"{number}.png" for number in range(5)]
    (refused,) = batch["refused"]
    assert (refused["index"], refused["file_name"], refused["type"]) == (5, "missing.png", "url_refused")
    assert open_client.post("/batches", **body, headers=KEY).json() == batch
    assert sorted(_Images.fetched) == sorted(f"/{name}.png" for name in [*range(5), "missing"])


def test_files_and_urls_are_mixed(open_client: httpx2.Client, images: str) -> None:
    batch = post(open_client, ("a.png", PNG), image_url=[f"{images}/b.png"]).json()
    assert sorted(file_names(open_client, batch)) == ["a.png", "b.png"]


def test_1000_long_urls_are_one_request(client: httpx2.Client) -> None:
    urls = [f"https://127.0.0.1/{'x' * 900}/{number}.png" for number in range(1_000)]
    answer = client.post("/batches", json={"prompt": "cat", "image_url": urls}, headers=KEY)
    problem = assert_problem(answer, 422, "batch_refused")
    assert "image 0 (0.png): url_refused" in problem["detail"]
    assert "and 900 more" in problem["detail"]


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/x-www-form-urlencoded", ""])
def test_a_zip_under_another_type_is_answered_with_the_right_one(client: httpx2.Client, content_type: str) -> None:
    headers = {**KEY, "Content-Type": content_type}
    answer = client.post("/batches?prompt=cat", content=zipped("a.png"), headers=headers)
    assert "application/zip" in assert_problem(answer, 400, "malformed_request")["detail"]


def test_the_fields_beside_the_urls_are_short(client: httpx2.Client) -> None:
    fields = {"prompt": "cat", "mask_format": ["rle"] * 100_000, "image_url": ["https://127.0.0.1/a.png"]}
    answer = client.post("/batches", json=fields, headers=KEY)
    assert "beside image_url" in assert_problem(answer, 400, "malformed_request")["detail"]


def test_a_webhook_that_no_text_can_have_is_refused(client: httpx2.Client) -> None:
    body = r'{"prompt": "cat", "image_url": "https://127.0.0.1/a.png", "webhook_url": "https://127.0.0.1/\ud800"}'
    answer = client.post("/batches", content=body, headers={**KEY, "Content-Type": "application/json"})
    assert_problem(answer, 422, "url_refused")


@pytest.mark.parametrize("urls", [[], None, "", [None], [["https://x"]], [7]])
def test_what_is_no_url_is_refused(client: httpx2.Client, urls: object) -> None:
    answer = client.post("/batches", json={"prompt": "cat", "image_url": urls}, headers=KEY)
    assert answer.status_code == 422, answer.text
