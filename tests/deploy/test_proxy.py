"""The proxy of the compose file: its own errors, its limits, and what it tells the API about the client."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx2
import pytest
from PIL import Image

from shared.settings import Settings
from testing.pictures import encoded, gradient
from testing.servers import front_end, website
from tests.deploy.proxy import Proxy, proxy

pytestmark = pytest.mark.slow

_NOBODY = "127.0.0.1:1"
"""Refuses connections."""


class _ShowsHeaders(BaseHTTPRequestHandler):
    """Answers with the path and the headers of the request."""

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, **{name.lower(): value for name, value in self.headers.items()}})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        """Log nothing."""


@contextmanager
def _behind(folder: Path, file: str = "nginx.conf", **settings: str) -> Iterator[Proxy]:
    """A proxy in front of a server that shows what it receives."""
    with website(_ShowsHeaders) as url, proxy(folder, url.removeprefix("http://"), file, **settings) as found:
        yield found


def _assert_problem(answer: httpx2.Response, status: int, code: str, instance: str) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance"}
    assert (problem["type"], problem["status"], problem["instance"]) == (code, status, instance)
    assert problem["title"]
    assert problem["detail"]


def test_an_api_that_is_down_is_a_problem_document(tmp_path: Path) -> None:
    with proxy(tmp_path, _NOBODY) as found:
        answer = httpx2.get(f"{found.url}/jobs/1?wait=3")
    _assert_problem(answer, 502, "bad_gateway", "/jobs/1")
    assert int(answer.headers["retry-after"]) > 0


def test_an_api_that_does_not_answer_in_time_is_a_problem_document(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with proxy(tmp_path, address, MASKQ_MAX_WAIT_S="-14.0") as found:  # 15 s are added
            answer = httpx2.get(f"{found.url}/models", timeout=10)
    _assert_problem(answer, 504, "gateway_timeout", "/models")


def test_the_proxy_logs_no_query(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for number, address in enumerate((_NOBODY, f"127.0.0.1:{silent.getsockname()[1]}")):
            folder = tmp_path / str(number)
            folder.mkdir()
            with proxy(folder, address, MASKQ_MAX_WAIT_S="-14.0") as found:
                httpx2.get(f"{found.url}/jobs/1/overlay.png?sig=s3cr3t", timeout=10)
    log = capfd.readouterr().err
    for status in (502, 504):
        assert f" {status} GET /jobs/1/overlay.png, client 127.0.0.1, API 127.0.0.1:" in log
    assert "s3cr3t" not in log


def test_an_answered_request_is_not_logged_by_the_proxy(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with _behind(tmp_path) as found:
        assert httpx2.get(f"{found.url}/jobs/1/overlay.png?sig=s3cr3t").status_code == 200
        assert httpx2.get(f"{found.url}/metrics?sig=s3cr3t").status_code == 404
    assert "/jobs/1" not in capfd.readouterr().err


def test_metrics_are_not_found_through_the_proxy(tmp_path: Path) -> None:
    with _behind(tmp_path) as found:
        _assert_problem(httpx2.get(f"{found.url}/metrics"), 404, "not_found", "/metrics")


def test_a_body_above_the_limit_is_a_problem_document(tmp_path: Path) -> None:
    with proxy(tmp_path, _NOBODY) as found:
        answer = httpx2.post(f"{found.url}/segment/", content=b"x" * 45_000_000)
    _assert_problem(answer, 413, "payload_too_large", "/segment/")


@pytest.mark.parametrize(
    ("request_line", "status", "code"),
    [
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b", 400, "bad_request"),
        ("GET / HTTP/1.1", 400, "bad_request"),
        ("TRACE / HTTP/1.1\r\nHost: a", 405, "method_not_allowed"),
        (f"GET /{'a' * 40_000} HTTP/1.1\r\nHost: a", 414, "uri_too_long"),
        (f"GET / HTTP/1.1\r\nHost: a\r\nX-A: {'a' * 40_000}", 431, "headers_too_large"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip", 501, "not_implemented"),
    ],
)
def test_a_request_that_the_proxy_cannot_read_is_a_problem_document(
    tmp_path: Path, request_line: str, status: int, code: str
) -> None:
    with proxy(tmp_path, _NOBODY) as found:
        head, body = _raw(found.http, f"{request_line}\r\nConnection: close\r\n\r\n".encode())
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert "Content-Type: application/problem+json" in head
    problem = json.loads(body)
    assert (problem["type"], problem["status"]) == (code, status)


def _raw(port: int, request: bytes) -> tuple[str, str]:
    """Send bytes. Returns the head and the body of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    head, _, body = answer.decode().partition("\r\n\r\n")
    return head, body


_OPEN = b"GET /jobs/1 HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n"
"""A request that a silent server leaves open."""


@contextmanager
def _open_requests(port: int, count: int, header: bytes = b"A: b") -> Iterator[None]:
    """So many requests in progress. A header has `%d` for their number."""
    with ExitStack() as connections:
        for number in range(count):
            each = connections.enter_context(socket.create_connection(("127.0.0.1", port)))
            each.sendall(_OPEN % (header % number if b"%" in header else header))
        yield


@contextmanager
def _behind_silence(folder: Path) -> Iterator[Proxy]:
    """A proxy in front of a server that takes connections and never answers."""
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=4096))
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        yield stack.enter_context(proxy(folder, address, MASKQ_MAX_WAIT_S="45"))


def test_too_many_requests_with_a_key_leave_room_for_other_keys_at_the_same_address(tmp_path: Path) -> None:
    with _behind_silence(tmp_path) as found, _open_requests(found.http, 512, b"Authorization: Bearer maskq_a"):
        _assert_limited(found, Authorization="Bearer maskq_a")
        for other in ({"Authorization": "Bearer maskq_b"}, {"X-API-Key": "maskq_c"}, {}):
            _assert_admitted(found, other)


def test_an_address_cannot_make_up_keys_without_end(tmp_path: Path) -> None:
    """Long keys do not fill the proxy's memory either."""
    with _behind_silence(tmp_path) as found, _open_requests(found.http, 2048, b"X-API-Key: %d" + b"x" * 4000):
        _assert_limited(found)


def _assert_limited(found: Proxy, **headers: str) -> None:
    """Soon at least: the proxy may still be reading the requests before this one."""
    answer = None
    while answer is None:
        with suppress(httpx2.ReadTimeout):
            answer = httpx2.get(f"{found.url}/", headers=headers, timeout=1)
    _assert_problem(answer, 429, "rate_limited", "/")
    assert answer.headers["retry-after"] == "1"


def _assert_admitted(found: Proxy, headers: dict[str, str]) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.get(f"{found.url}/", headers=headers, timeout=0.5)


def test_a_body_without_a_key_is_refused_before_it_is_read(tmp_path: Path, settings: Settings) -> None:
    """24 of them once filled the room for all bodies; nothing is stored now."""
    closed = settings.replace(require_keys=True)
    with front_end(closed) as url, proxy(tmp_path, url.removeprefix("http://")) as found:
        for _ in range(24):
            request = b"POST /segment/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 20000000\r\n\r\n"
            head, _ = _raw(found.http, request + b"x" * 100_000)
            assert head.startswith("HTTP/1.1 401 ")
        assert not [each for each in (tmp_path / "body").rglob("*") if each.is_file()]


def test_a_large_body_without_a_key_is_answered_while_it_is_sent(tmp_path: Path, settings: Settings) -> None:
    closed = settings.replace(require_keys=True)
    with front_end(closed) as url, proxy(tmp_path, url.removeprefix("http://")) as found:
        for _ in range(10):
            answer = httpx2.post(f"{found.url}/segment/", content=b"x" * 20_000_000)
            assert answer.status_code == 401, answer.text


def test_an_upload_arrives_whole_through_the_proxy(tmp_path: Path, settings: Settings) -> None:
    image = encoded(Image.frombytes("RGB", (1500, 1500), os.urandom(1500 * 1500 * 3)))
    with (
        front_end(settings.replace(accept_unserved=True)) as url,
        proxy(tmp_path, url.removeprefix("http://")) as found,
    ):
        answer = httpx2.post(f"{found.url}/segment/", files={"image_file": image}, data={"prompt": "cat"})
    assert answer.status_code == 202, answer.text


_METRICS_PATHS = [
    "/metrics",
    "/metrics%0a",
    "/metrics%0A",
    "/metrics/",
    "//metrics",
    "/./metrics",
    "/x/../metrics",
    "/%6detrics",
]
_METRICS_PATHS += [
    "/metrics%00",
    "/metrics;x",
    "/METRICS",
    "/metrics%20",
    "/metrics%0d%0a",
    "/metrics?",
    "/metrics%23",
    "///metrics",
]


@pytest.mark.parametrize("public", ["", "https://example.com/maskq"])
def test_no_spelling_of_the_path_shows_metrics_through_the_proxy(
    tmp_path: Path, settings: Settings, public: str
) -> None:
    """The API refuses what came through a proxy, so it does not matter how the proxy and the API read a path."""
    open_to_all = settings.replace(metrics_allow="0.0.0.0/0", forwarded_allow_ips="*")
    with front_end(open_to_all) as url:
        assert "maskq_store_up" in httpx2.get(f"{url}/metrics").text
        with proxy(tmp_path, url.removeprefix("http://"), MASKQ_PUBLIC_URL=public) as found:
            for path in [*_METRICS_PATHS, *(f"/maskq{each}" for each in _METRICS_PATHS)]:
                _, body = _raw(found.http, f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
                assert "maskq_store_up" not in body, path


@pytest.mark.parametrize("path", ['/a"b', "/a\\b", "/a%22b", "/\xff"])
def test_the_problem_document_is_json_whatever_the_path_is(tmp_path: Path, path: str) -> None:
    with proxy(tmp_path, _NOBODY) as found:
        request = f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode("latin-1")
        _, body = _raw(found.http, request)
    assert path.startswith(json.loads(body)["instance"])


def test_errors_of_the_api_pass_the_proxy_unchanged(tmp_path: Path, settings: Settings) -> None:
    with front_end(settings) as url, proxy(tmp_path, url.removeprefix("http://")) as found:
        answer = httpx2.get(f"{found.url}/jobs/0")
        assert answer.json() == httpx2.get(f"{url}/jobs/0").json()
    assert answer.status_code == 404


def test_the_limits_of_the_proxy_follow_the_settings_of_the_api(tmp_path: Path) -> None:
    with _behind(tmp_path, MASKQ_MAX_IMAGE_BYTES="1000", MASKQ_MAX_WAIT_S="120.5"):
        made = (tmp_path / "maskq/limits.conf").read_text("utf-8")
    limits = Settings.of(max_image_bytes=1000).submissions
    assert f"client_max_body_size {limits.max_body_bytes + 1_000_000};" in made
    assert "proxy_read_timeout 135s;" in made


def test_without_settings_the_proxy_allows_the_defaults_of_the_api(tmp_path: Path) -> None:
    with _behind(tmp_path):
        made = (tmp_path / "maskq/limits.conf").read_text("utf-8")
    settings = Settings.of()
    (size,) = (int(line.split()[1].rstrip(";")) for line in made.splitlines() if line.startswith("client_max"))
    (read,) = (int(line.split()[1].rstrip("s;")) for line in made.splitlines() if line.startswith("proxy_read"))
    assert settings.submissions.max_body_bytes < size < 1.1 * settings.submissions.max_body_bytes
    assert read > settings.http.max_wait_s


def test_headers_of_a_proxy_in_front_reach_the_api(tmp_path: Path) -> None:
    sent = {
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "example.com",
        "X-Forwarded-Port": "443",
        "X-Forwarded-Prefix": "/maskq",
        "X-Forwarded-For": "203.0.113.9",
    }
    with _behind(tmp_path) as found:
        seen = httpx2.get(f"{found.url}/", headers=sent).json()
    assert {name: seen[name.lower()] for name in sent} == sent


def test_headers_of_others_do_not(tmp_path: Path) -> None:
    sent = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil"}
    sent |= {"X-Forwarded-Port": "1", "X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}
    with _behind(tmp_path, TRUSTED_PROXIES="none") as found:
        seen = httpx2.get(f"{found.url}/", headers=sent).json()
    kept = {name: value for name, value in seen.items() if "forwarded" in name}
    assert kept == {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": f"127.0.0.1:{found.http}",
    }


def test_the_path_of_the_public_address_is_cut_off(tmp_path: Path) -> None:
    with _behind(tmp_path, MASKQ_PUBLIC_URL="https://example.com/a.b/maskq/") as found:
        seen = httpx2.get(f"{found.url}/a.b/maskq/jobs/1?wait=2").json()
        assert (seen["path"], seen["x-forwarded-prefix"]) == ("/jobs/1?wait=2", "/a.b/maskq")
        assert httpx2.get(f"{found.url}/jobs/1").json()["path"] == "/jobs/1"
        assert httpx2.get(f"{found.url}/axb/maskq/jobs/1").json()["path"] == "/axb/maskq/jobs/1"
        assert httpx2.get(f"{found.url}/a.b/maskq").headers["location"] == "https://example.com/a.b/maskq/"
        _assert_problem(httpx2.get(f"{found.url}/a.b/maskq/metrics"), 404, "not_found", "/a.b/maskq/metrics")


def test_the_tls_example_serves_https_and_sends_browsers_there(tmp_path: Path) -> None:
    trust = _make_certificate(tmp_path / "tls")
    public = "https://localhost/maskq"
    with _behind(tmp_path, "tls.conf", MASKQ_PUBLIC_URL=public, TRUSTED_PROXIES="none") as found:
        with httpx2.Client(verify=trust) as client:
            seen = client.get(f"https://localhost:{found.tls}/maskq/models").json()
        redirect = httpx2.get(f"http://127.0.0.1:{found.redirect}/maskq/models?a=b")
        plain, _ = _raw(found.tls, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert (seen["path"], seen["x-forwarded-proto"], seen["x-forwarded-prefix"]) == ("/models", "https", "/maskq")
    assert (redirect.status_code, redirect.headers["location"]) == (308, f"{public}/models?a=b")
    assert plain.startswith("HTTP/1.1 400 ")


def _make_certificate(folder: Path) -> ssl.SSLContext:
    """Make a certificate for localhost, as docs/tls.md does. Returns a context that trusts it."""
    folder.mkdir()
    names = ["-keyout", str(folder / "privkey.pem"), "-out", str(folder / "fullchain.pem")]
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *names]
    subprocess.run(command, check=True, capture_output=True)
    return ssl.create_default_context(cafile=folder / "fullchain.pem")


def test_a_batch_may_be_larger_than_one_upload(tmp_path: Path, settings: Settings) -> None:
    small = settings.replace(max_image_bytes=1_000_000, max_queued_jobs=1_000)
    files = [
        ("image_file", (f"{number}.bmp", encoded(gradient(64, 48), "BMP") + bytes(700_000))) for number in range(6)
    ]
    with (
        front_end(small) as url,
        proxy(tmp_path, url.removeprefix("http://"), MASKQ_MAX_IMAGE_BYTES="1000000") as found,
    ):
        headers = {"Idempotency-Key": "k"}
        batch = httpx2.post(f"{found.url}/batches", data={"prompt": "cat"}, files=files, headers=headers, timeout=60)
        assert batch.status_code == 202, batch.text
        assert batch.json()["total"] == 6
        assert httpx2.get(batch.json()["urls"]["self"]).json() == batch.json()
        single = httpx2.post(f"{found.url}/segment/", content=bytes(3_000_000))
    assert single.status_code == 413
