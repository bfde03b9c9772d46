"""The proxy of the compose file: its own errors, its limits, and what it tells the API about the client."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx2
import pytest

from shared.settings import Settings
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


def test_too_many_requests_of_a_client_are_a_problem_document(tmp_path: Path) -> None:
    with proxy(tmp_path, _NOBODY) as found, ExitStack() as connections:
        for _ in range(256):
            each = connections.enter_context(socket.create_connection(("127.0.0.1", found.http)))
            each.sendall(b"POST /segment/ HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        answer = httpx2.get(f"{found.url}/")
    _assert_problem(answer, 429, "rate_limited", "/")
    assert answer.headers["retry-after"] == "1"


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
