"""Forms as clients of many languages send them, over HTTP."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import httpx2
import pytest

from api.submission import intake
from api.submission.submission import validate
from shared.store.leases import LeaseStore
from testing.pictures import encoded, gradient
from tests.jobs import PNG, assert_problem

_PSD_LIKE = b"8BPS\0\1\0\0 all of it is ASCII"


def _part(head: str, content: bytes, *headers: str) -> bytes:
    lines = [f"Content-Disposition: form-data; {head}", *headers, "", ""]
    return "\r\n".join(lines).encode() + content


def _post(client: httpx2.Client, *parts: bytes, kind: str = "multipart/form-data; boundary=x") -> httpx2.Response:
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"
    return client.post("/segment/", content=body, headers={"Content-Type": kind})


_PROMPT = _part('name="prompt"', b"cat")
_IMAGES = {
    "a file name": _part('name="image_file"; filename="cat.png"', PNG, "Content-Type: image/png"),
    "an empty file name": _part('name="image_file"; filename=""', PNG),
    "no file name": _part('name="image_file"', PNG),
    "only an extended file name": _part("name=\"image_file\"; filename*=UTF-8''k%C3%A4se.png", PNG),
    "both file names": _part('name="image_file"; filename="k.png"; filename*=utf-8\'de\'k%C3%A4se.png', PNG),
    "only a content type": _part('name="image_file"', PNG, "Content-Type: image/png"),
    "only octet-stream": _part('name="image_file"', PNG, "Content-Type: application/octet-stream"),
    "a transfer encoding": _part('name="image_file"', PNG, "Content-Transfer-Encoding: binary"),
    "base64 in lines": _part(
        'name="image_file"; filename="a.png"', base64.encodebytes(PNG), "Content-Transfer-Encoding: BASE64"
    ),
    "names without quotes": _part("name=image_file; filename=cat.png", PNG),
    "headers in small letters": b"content-disposition:form-data; name=image_file\r\n\r\n" + PNG,
}


@pytest.mark.parametrize("name", _IMAGES)
def test_a_part_with_an_image_is_an_image(client: httpx2.Client, leases: LeaseStore, name: str) -> None:
    assert _post(client, _PROMPT, _IMAGES[name]).status_code == 202
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    assert lease.image == PNG


@pytest.mark.parametrize(
    ("head", "file_name"),
    [
        ('filename="cat.png"', "cat.png"),
        ('filename="猫.png"', "猫.png"),
        ("filename=\"x.png\"; filename*=UTF-8''%E7%8C%AB.png", "猫.png"),
        ("filename*=iso-8859-1''k%E4se.png", "käse.png"),
        ("filename*=no-such-charset''a.png", "a.png"),
        ('filename="../../etc/passwd"', "passwd"),
        ('filename="C:\\dir\\cat.png"', "cat.png"),
        ('filename=""', None),
    ],
)
def test_the_name_of_the_file_comes_back_without_folders(
    client: httpx2.Client, head: str, file_name: str | None
) -> None:
    job = _post(client, _PROMPT, _part(f'name="image_file"; {head}', PNG)).json()
    assert job["file_name"] == file_name


def test_a_file_name_need_not_be_utf_8(client: httpx2.Client) -> None:
    head = b'Content-Disposition: form-data; name="image_file"; filename="k\xe4se.png"\r\n\r\n'
    assert _post(client, _PROMPT, head + PNG).json()["file_name"] == "käse.png"


@pytest.mark.parametrize(
    "part",
    [
        _part('name="prompt"', "käse".encode()),
        _part('name="prompt"', "käse".encode(), "Content-Type: text/plain; charset=UTF-8"),
        _part('name="prompt"', "käse".encode("latin-1"), "Content-Type: text/plain; charset=ISO-8859-1"),
        _part('name="prompt"', base64.b64encode("käse".encode()), "Content-Transfer-Encoding: base64"),
        _part('name="prompt"', "käse".encode(), "Content-Transfer-Encoding: 8bit", "Content-Length: 5"),
    ],
)
def test_a_text_may_name_its_charset(client: httpx2.Client, part: bytes) -> None:
    assert _post(client, part, _IMAGES["a file name"]).json()["prompt"] == "segment käse"


@pytest.mark.parametrize(
    ("parts", "status", "detail"),
    [
        (
            [_part('name="prompt"', b"k\xe4se"), _IMAGES["a file name"]],
            422,
            "prompt: must be text, given once; this is a",
        ),
        ([_PROMPT, _part('name="image_file"', b"@cat.png")], 422, "image_file: must be one file part"),
        ([_PROMPT, _part('name="image_file"', _PSD_LIKE)], 415, ""),
        ([_part('name="prompt"', b"cat", "Content-Type: text/plain; charset=punycode")], 400, "charset"),
        ([_part('name="prompt"', b"cat", "Content-Transfer-Encoding: quoted-printable")], 400, "transfer encoding"),
        ([_part('name="prompt"', b"c!t", "Content-Transfer-Encoding: base64")], 400, "base64"),
        ([_PROMPT, _part('name="image"', PNG)], 422, "image: unknown field; did you mean image_file or image_url?"),
    ],
)
def test_a_wrong_part_is_refused_by_name(client: httpx2.Client, parts: list[bytes], status: int, detail: str) -> None:
    answer = _post(client, *parts)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    "kind",
    [
        'Multipart/Form-Data; boundary="x"',
        "multipart/form-data;boundary=x;charset=UTF-8",
        "multipart/form-data; BOUNDARY=x",
    ],
)
def test_the_content_type_may_be_written_in_any_way(client: httpx2.Client, kind: str) -> None:
    assert _post(client, _PROMPT, _IMAGES["a file name"], kind=kind).status_code == 202


def test_a_urlencoded_form_carries_a_url(client: httpx2.Client) -> None:
    data = {"prompt": "cat ; dog", "image_url": "data:image/png;base64," + base64.b64encode(PNG).decode()}
    answer = client.post("/segment/", data={**data, "mask_format": ["rle", "png"], "metadata": '{"a": 1}'})
    assert answer.status_code == 202, answer.text
    assert (answer.json()["prompt"], answer.json()["metadata"]) == ("segment cat ; dog", {"a": 1})
    refused = client.post("/segment/", data={"prompt": "cat", "image_base64": "AAAA"})
    assert (
        "image_base64: unknown field; did you mean image_url?"
        in assert_problem(refused, 422, "invalid_field")["detail"]
    )
    assert_problem(client.post("/segment/", data={**data, "ref": "x" * 70_000}), 413, "payload_too_large")


def test_what_is_the_client_s_own_comes_back_everywhere(client: httpx2.Client) -> None:
    metadata = {"id": 10**30, "größe": [1.5, None, {"a": "猫"}]}
    files = {"image_file": ("scans/7.jpg", encoded(gradient(), "JPEG"))}
    sent = {"prompt": "cat", "ref": "scan 7 猫", "metadata": json.dumps(metadata)}
    job = client.post("/segment/", data=sent, files=files).json()
    (listed,) = client.get("/jobs").json()["jobs"]
    for shown in (job, listed, client.get(job["urls"]["self"]).json()):
        assert (shown["ref"], shown["metadata"], shown["file_name"]) == ("scan 7 猫", metadata, "7.jpg")
    own = {"prompt": "cat", "image_base64": base64.b64encode(PNG).decode(), "metadata": metadata, "ref": "8"}
    assert client.post("/segment/", json=own).json()["metadata"] == metadata


def test_a_repeated_request_has_the_same_metadata(client: httpx2.Client) -> None:
    def post(file_name: str, **fields: str) -> httpx2.Response:
        data = {"prompt": "cat", **fields}
        headers = {"Idempotency-Key": "k"}
        return client.post("/segment/", data=data, files={"image_file": (file_name, PNG)}, headers=headers)

    first = post("tmp1.png", metadata='{"a": 1}').json()
    again = post("tmp2.png", metadata='{ "a": 1 }').json()  # the same image in another temporary file
    assert (again["id"], again["file_name"]) == (first["id"], "tmp1.png")
    assert_problem(post("tmp1.png", metadata='{"a": 2}'), 422, "idempotency_mismatch")


def test_json_that_is_sent_as_a_form_is_named(client: httpx2.Client) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    for image in (PNG, PNG * 10_000):
        body = json.dumps({"prompt": "cat", "image_base64": base64.b64encode(image).decode()})
        answer = client.post("/segment/", content=body, headers=kind)
        assert_problem(answer, 400, "malformed_request")
        assert "send it with Content-Type: application/json" in answer.json()["detail"]


def test_fields_in_the_query_are_refused_with_their_place(client: httpx2.Client) -> None:
    answer = client.post("/segment/?prompt=cat", content=PNG, headers={"Content-Type": "image/png"})
    assert_problem(answer, 422, "invalid_field")
    assert answer.json()["detail"].endswith("send all fields in the body, in a form or as JSON")


def test_no_form_is_checked_on_the_event_loop(client: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def recorded(*arguments: Any) -> Any:
        threads.append(threading.current_thread().name)
        return validate(*arguments)

    monkeypatch.setattr(intake, "validate", recorded)
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert _post(client, _PROMPT, _IMAGES["a file name"]).status_code == 202
    assert client.post("/segment/", data={"prompt": "cat", "image_url": url}).status_code == 202
    assert client.post("/segment/", json={"prompt": "cat", "image_url": url}).status_code == 202
    assert [name.partition("_")[0] for name in threads] == ["intake"] * 3


def test_thresholds_name_no_more_phrases_than_a_prompt_has(client: httpx2.Client) -> None:
    thresholds = json.dumps(dict.fromkeys(map(str, range(257)), 0.5))
    refused = _post(client, _PROMPT, _IMAGES["a file name"], _part('name="score_threshold"', thresholds.encode()))
    assert "at most 256" in assert_problem(refused, 422, "invalid_field")["detail"]
