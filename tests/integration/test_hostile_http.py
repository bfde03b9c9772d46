"""Hostile HTTP, byte by byte: every request gets an answer in time, and the service continues."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

import httpx2
import pytest

from api.http import header_limit
from shared.settings import Settings
from testing.servers import front_end
from tests.connections import PATIENCE_S, assert_refused, connection, rest
from tests.jobs import PNG, assert_problem, submit

_FORM = "Content-Type: multipart/form-data; boundary=x\r\n"
_PART = b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n'


@pytest.fixture
def hasty(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a front end with short time limits."""
    monkeypatch.setattr(header_limit, "HEADER_TIMEOUT_S", 0.5)
    with front_end(settings.replace(body_timeout_s=0.5)) as url:
        yield url


def _post(extra: str = _FORM) -> bytes:
    return f"POST /segment/ HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n".encode()


# --- Slowness ---------------------------------------------------------------------------------------------------------


def test_incomplete_headers_time_out(hasty: str) -> None:
    with connection(hasty) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        assert_refused(rest(client), 408, "request_timed_out")


def test_slow_headers_time_out(hasty: str) -> None:
    begin = time.monotonic()
    with connection(hasty) as client, suppress(OSError):
        while time.monotonic() - begin < PATIENCE_S:
            client.sendall(b"\r\n" if time.monotonic() - begin < 0.2 else b"G")
            time.sleep(0.05)
    assert time.monotonic() - begin < PATIENCE_S  # the server closed the connection before


def test_a_silent_connection_is_closed(hasty: str) -> None:
    with connection(hasty) as client:
        assert_refused(rest(client), 408, "request_timed_out")


def test_the_second_request_of_a_connection_has_a_deadline_too(hasty: str) -> None:
    with connection(hasty) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = client.recv(4096)
        while not answer.endswith(b"}"):  # head and body may come one after the other
            answer += client.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET /livez HTT")
        assert_refused(rest(client), 408, "request_timed_out")


def test_a_slow_answer_is_not_cut_off_by_the_deadline_for_headers(hasty: str) -> None:
    with httpx2.Client(base_url=hasty, timeout=PATIENCE_S) as client:
        job = submit(client).json()
        assert client.get(job["urls"]["self"], params={"wait": 1.5}).status_code == 200


@pytest.mark.parametrize("length", ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"])
def test_an_incomplete_body_times_out(hasty: str, length: str) -> None:
    with connection(hasty) as client:
        client.sendall(_post(_FORM + length))
        assert_refused(rest(client), 408, "request_timed_out")


# --- Sizes and lengths ------------------------------------------------------------------------------------------------


def test_endless_headers_are_refused(settings: Settings) -> None:
    with front_end(settings) as url, connection(url) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        sent, refused = 0, False
        while sent < 2_000_000 and not refused:
            try:
                sent += client.send(b"x" * 10_000)
                time.sleep(0.01)
            except OSError:
                refused = True
        assert refused


def test_long_headers_are_refused_with_a_problem(settings: Settings) -> None:
    with front_end(settings) as url, connection(url) as client:
        client.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 70_000)
        assert_refused(rest(client), 431, "headers_too_large")


def test_a_too_large_content_length_is_refused_before_reading(settings: Settings) -> None:
    with front_end(settings) as url, connection(url) as client:
        client.sendall(_post(f"{_FORM}Content-Length: 99999999999\r\nExpect: 100-continue\r\n"))
        assert_refused(rest(client), 413, "payload_too_large")


@pytest.mark.parametrize(
    "lengths",
    [
        "Content-Length: -1\r\n",
        "Content-Length: 1e3\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",  # request smuggling
        "Transfer-Encoding: chunked, identity\r\n",
    ],
)
def test_an_invalid_content_length_is_a_bad_request(settings: Settings, lengths: str) -> None:
    with front_end(settings) as url, connection(url) as client:
        client.sendall(_post(_FORM + lengths) + b"hello")
        assert rest(client).startswith(b"HTTP/1.1 400 ")


def test_bytes_after_the_content_length_are_not_part_of_the_body(settings: Settings) -> None:
    body = b'{"prompt": "cat"}'
    with front_end(settings) as url, connection(url) as client:
        head = _post(f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n")
        client.sendall(head + body + b"\x00 and more \r\n\r\n")
        answers = rest(client)
    assert b"HTTP/1.1 400 " in answers  # the bytes that follow are not a request
    assert b"HTTP/1.1 2" not in answers


def test_uploads_above_the_memory_limit_are_refused_and_memory_is_freed(settings: Settings) -> None:
    small = settings.replace(max_image_bytes=400_000, upload_memory_bytes=1_600_000)
    with front_end(small) as url, httpx2.Client(base_url=url, timeout=PATIENCE_S) as client:
        head = b'--x\r\nContent-Disposition: form-data; name="image_file"; filename="a"\r\n\r\n'
        deadline = time.monotonic() + PATIENCE_S
        is_refused = False
        while not is_refused and time.monotonic() < deadline:  # if both arrive together, the other one may be refused
            with connection(url) as other:
                other.sendall(_post(f"{_FORM}Content-Length: 590000\r\n") + head + bytes(500_000))
                time.sleep(0.2)
                answer = _large(client)
                if is_refused := answer.status_code == 429:
                    assert submit(client).status_code == 202  # a small upload still fits
        assert_problem(answer, 429, "share_exceeded")
        assert int(answer.headers["retry-after"]) > 0
        while _large(client).status_code != 415 and time.monotonic() < deadline:
            pass  # until the server has noticed that the other client left
        assert_problem(_large(client), 415, "unsupported_image")


def _large(client: httpx2.Client) -> httpx2.Response:
    return client.post("/segment/", data={"prompt": "cat"}, files={"image_file": ("a", bytes(200_000))})


def test_a_compressed_body_is_refused(settings: Settings) -> None:
    with front_end(settings) as url, httpx2.Client(base_url=url, timeout=PATIENCE_S) as client:
        for encoding in ("gzip", "br", "deflate, gzip", "zstd"):
            headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
            answer = client.post("/segment/", content=b"\x1f\x8b" + bytes(100), headers=headers)
            assert_problem(answer, 415, "unsupported_encoding")
        assert submit(client, headers={"Content-Encoding": "identity"}).status_code == 202


# --- Forms and JSON ---------------------------------------------------------------------------------------------------


def _parts(*parts: bytes) -> bytes:
    return b"".join(b"--x\r\n" + part + b"\r\n" for part in parts) + b"--x--\r\n"


def _field(name: bytes, value: bytes = b"v", header: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"' + header + b"\r\n\r\n" + value


_IMAGE = _field(b"image_file", PNG, b'; filename="a.png"')
_NESTED = b"Content-Type: multipart/mixed; boundary=y\r\n" + _field(b"prompt", b"--y\r\n\r\ncat\r\n--y--")
_FORMS: dict[str, tuple[str, bytes, int, str]] = {
    "no boundary": ("multipart/form-data", _parts(_IMAGE), 400, "malformed_request"),
    "empty boundary": ("multipart/form-data; boundary=", _parts(_IMAGE), 400, "malformed_request"),
    "another boundary": ("multipart/form-data; boundary=y", _parts(_IMAGE), 400, "malformed_request"),
    "long boundary": (f"multipart/form-data; boundary={'y' * 5_000}", _parts(_IMAGE), 400, "malformed_request"),
    "many fields": ("multipart/form-data; boundary=x", _parts(*[_field(b"f")] * 65), 400, "malformed_request"),
    "many files": ("multipart/form-data; boundary=x", _parts(*[_IMAGE] * 3), 422, "invalid_field"),
    "100,000 parts": ("multipart/form-data; boundary=x", _parts(*[_field(b"f")] * 100_000), 400, "malformed_request"),
    "a name of 1 MB": ("multipart/form-data; boundary=x", _parts(_field(b"n" * 1_000_000)), 400, "malformed_request"),
    "no name": (
        "multipart/form-data; boundary=x",
        _parts(b"Content-Disposition: form-data\r\n\r\nv"),
        422,
        "invalid_field",
    ),
    "an empty name": ("multipart/form-data; boundary=x", _parts(_field(b""), _field(b"prompt"), _IMAGE), 202, ""),
    "1,000 headers": (
        "multipart/form-data; boundary=x",
        _parts(b"A: b\r\n" * 1_000 + _IMAGE),
        400,
        "malformed_request",
    ),
    "same field twice": (
        "multipart/form-data; boundary=x",
        _parts(_field(b"prompt"), _field(b"prompt"), _IMAGE),
        422,
        "invalid_field",
    ),
    "nested forms": ("multipart/form-data; boundary=x", _parts(_NESTED, _IMAGE), 202, ""),
    "prompt as a file": (
        "multipart/form-data; boundary=x",
        _parts(_field(b"prompt", b"c\xe4t", b'; filename="p"'), _IMAGE),
        422,
        "invalid_field",
    ),
    "punycode": ("multipart/form-data; boundary=x; charset=punycode", _parts(_IMAGE), 400, "malformed_request"),
    "utf-7": ("multipart/form-data; boundary=x; charset=utf-7", _parts(_IMAGE), 400, "malformed_request"),
    "bytes that are not UTF-8": (
        "multipart/form-data; boundary=x",
        _parts(_field(b"prompt", b"c\x80t"), _IMAGE),  # read as Latin-1: a control character
        422,
        "invalid_field",
    ),
    "url-encoded": ("application/x-www-form-urlencoded", b"prompt=cat", 422, "invalid_field"),
    "url-encoded image": ("application/x-www-form-urlencoded", b"image_url=" + PNG, 400, "malformed_request"),
    "url-encoded escapes": ("application/x-www-form-urlencoded", b"%41" * 1_000_000, 413, "payload_too_large"),
    "url-encoded fields": ("application/x-www-form-urlencoded", b"a=1&" * 100, 400, "malformed_request"),
    "cut short": ("multipart/form-data; boundary=x", _parts(_IMAGE)[:-20], 400, "malformed_request"),
    "json name twice": ("application/json", b'{"prompt": "a", "prompt": "b"}', 400, "malformed_request"),
    "json huge number": ("application/json", b'{"prompt": "a", "timeout": 1' + b"0" * 400 + b"}", 422, "invalid_field"),
    "json endless number": ("application/json", b'{"timeout": ' + b"1" * 9_999 + b"}", 400, "malformed_request"),
    "json infinity": ("application/json", b'{"prompt": "a", "timeout": Infinity}', 422, "invalid_field"),
    "json surrogate in a name": ("application/json", b'{"\\ud800": 1, "prompt": "a"}', 422, "invalid_field"),
    "json surrogate in a url": (
        "application/json",
        b'{"prompt": "a", "image_url": "https://\\ud800/"}',
        422,
        "url_refused",
    ),
    "json surrogate in a model": ("application/json", b'{"prompt": "a", "model_id": "\\udfff"}', 422, "invalid_field"),
}


@pytest.mark.parametrize("name", _FORMS)
def test_a_hostile_body_is_answered_quickly(client: httpx2.Client, name: str) -> None:
    content_type, body, status, code = _FORMS[name]
    begin = time.monotonic()
    answer = client.post("/segment/", content=body, headers={"Content-Type": content_type})
    assert time.monotonic() - begin < 10
    if code:
        assert_problem(answer, status, code)
    assert answer.status_code == status, answer.text
    assert submit(client).status_code == 202


@pytest.mark.parametrize(
    "prompt",
    [
        "cat\x00",
        "cat\x1b[2J",
        "c\ue000at",
        "<lo\u200bc0001>",
        "<loc0001>",
        "cat <eos>",
        "<image>",
        "<seg001>",
        "x" * 513,
    ],
)
def test_special_tokens_and_control_characters_in_prompts_are_refused(client: httpx2.Client, prompt: str) -> None:
    assert_problem(submit(client, prompt=prompt), 422, "invalid_field")


def test_an_unsafe_request_id_is_replaced(client: httpx2.Client) -> None:
    assert client.get("/livez", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    for hostile in ("a b", "x" * 65, '"}{"'):
        assert client.get("/livez", headers={"X-Request-ID": hostile}).headers["x-request-id"] != hostile
