"""`maskq doctor`."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from maskq import Client
from maskq.cli.app import run
from maskq.cli.exit_status import ExitStatus

from local.broker import free_port
from shared.domain.api_key import Scope
from shared.settings import RedisSettings
from shared.store.api_keys import ApiKeyStore
from testing.fleet import Fleet
from tests.certificates import Authority, self_signed
from tests.client.cli.hostile_service import EVIL

Capture = pytest.CaptureFixture[str]
_READY: Mapping[str, object] = {
    "/livez": {"status": "ok"},
    "/readyz": {},
    "/jobs": {},
    "/segment/": 422,
    "/models": [{"id": EVIL, "live_workers": 2}],
}


def _findings(capsys: Capture, *arguments: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit status, and level and text of the last finding of each area."""
    status = run([*arguments, "--json"])
    findings = json.loads(capsys.readouterr().out)
    return status, {each["area"]: (each["level"], f"{each['text']}. {each['advice']}") for each in findings}


@contextmanager
def _website(
    answers: Mapping[str, object], context: ssl.SSLContext | None = None, headers: Mapping[str, str] | None = None
) -> Iterator[str]:
    """A server with these documents; a number is a status, and a pair is both. `headers` replace what it says by
    itself."""
    said = headers or {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.partition("?")[0], 404)
            status, document = found if isinstance(found, tuple) else (found if isinstance(found, int) else 200, found)
            body = json.dumps(document).encode()
            self.send_response_only(status)
            for name, value in {"Date": self.date_time_string(), **said, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_all_is_well_with_a_real_service(service: str, client: Client, capsys: Capture) -> None:
    before = [job.id for job in client.jobs(1)]
    assert run(["--url", service, "doctor", "--job"]) == ExitStatus.OK
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ok"] * len(lines)
    areas = ["connection", "tls", "clock", "ready", "key", "key", "key", "models", "job"]
    assert [line.split()[1].rstrip(":") for line in lines] == areas
    assert [job.id for job in client.jobs(1)] == before  # the job of the doctor is deleted


def test_a_service_that_does_not_run_is_a_failure(capsys: Capture) -> None:
    status, found = _findings(capsys, "--url", f"http://127.0.0.1:{free_port()}", "doctor", "--job")
    assert status == ExitStatus.UNREACHABLE
    assert list(found) == ["connection"]
    assert "Is the service running" in found["connection"][1]


@pytest.mark.parametrize(
    ("answers", "headers", "text"),
    [
        ({}, {}, "Is the URL right"),
        ({"/livez": "ok"}, {}, "Is the URL right"),
        ({"/livez": 421}, {}, "refuses this host"),
        ({"/livez": 301}, {"Location": "https://masks.example.com/livez"}, "redirects to https://masks.example.com"),
    ],
)
def test_another_server_is_a_failure(
    answers: dict[str, object], headers: dict[str, str], text: str, capsys: Capture
) -> None:
    with _website(answers, headers=headers) as url:
        status, found = _findings(capsys, "--url", url, "doctor")
    assert status == ExitStatus.UNREACHABLE
    assert list(found) == ["connection"]
    assert text in found["connection"][1]


@pytest.mark.parametrize(
    ("answers", "area", "level", "text"),
    [
        ({"/readyz": 503}, "ready", "failure", "Redis"),
        ({"/readyz": (503, {"store": True, "live_workers": {"a": 0}})}, "ready", "failure", "start a worker"),
        ({"/readyz": (503, {"store": False, "live_workers": {"a": 0}})}, "ready", "failure", "Redis"),
        ({"/readyz": (503, {"store": True, "live_workers": {"a": 1}})}, "ready", "failure", "Redis"),
        ({"/models": [{"id": "a", "live_workers": 0}]}, "models", "failure", "a (default): no live worker"),
        ({"/models": [{"id": "a", "live_workers": 1}, {"id": "b", "live_workers": 0}]}, "models", "warning", "b: no"),
        ({"/models": {"id": "a"}}, "models", "failure", "unknown"),
        ({"/models": [{"id": "a"}]}, "models", "failure", "unknown"),
        ({"/segment/": 429}, "key", "warning", "whether it may submit is unknown"),
    ],
)
def test_each_fault_is_found(answers: Mapping[str, object], area: str, level: str, text: str, capsys: Capture) -> None:
    with _website({**_READY, **answers}) as url:
        status, found = _findings(capsys, "--url", url, "doctor")
    assert found[area][0] == level
    assert text in found[area][1]
    assert status == (ExitStatus.FAILED if level == "failure" else ExitStatus.OK)


def test_clocks_that_differ_are_a_warning(capsys: Capture) -> None:
    for date, text in (("Thu, 01 Jan 2026 00:00:00 GMT", "behind"), ("now", "does not tell")):
        with _website(_READY, headers={"Date": date}) as url:
            status, found = _findings(capsys, "--url", url, "doctor")
        assert (status, found["clock"][0]) == (ExitStatus.OK, "warning")
        assert text in found["clock"][1]


def test_certificates_are_examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    authority = Authority(tmp_path / "ca")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    cases = (
        (lambda: authority.certificate("127.0.0.1", 100), "tls", "ok", "100 more days"),
        (lambda: authority.certificate("127.0.0.1", 3), "tls", "warning", "renew"),
        (lambda: authority.certificate("127.0.0.1", -1), "connection", "failure", "expired"),
        (lambda: authority.certificate("example.com"), "connection", "failure", "SSL_CERT_FILE"),
        (lambda: self_signed(tmp_path, "127.0.0.1"), "connection", "failure", "SSL_CERT_FILE"),
    )
    for make, area, level, text in cases:
        certificate = make()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.file, certificate.key_file)
        with _website(_READY, context) as url:
            status, found = _findings(capsys, "--url", url, "doctor")
        assert found[area][0] == level
        assert text in found[area][1]
        assert status == (ExitStatus.UNREACHABLE if level == "failure" else ExitStatus.OK)


def test_plain_http_to_another_machine_is_a_warning(capsys: Capture) -> None:
    from maskq.cli.doctor.connection import examine_tls
    from maskq.cli.probe import Prober
    from maskq.configuration import Configuration

    with _website(_READY) as url, Prober(Configuration(url, None)) as prober:
        (found,) = examine_tls(Configuration("http://10.0.0.1:8000", "maskq_key"), prober.send("GET", "/livez"))
    assert (found.level, "API key" in found.text) == ("warning", True)


async def _new_key(url: str, *scopes: Scope) -> str:
    store = ApiKeyStore.connect(RedisSettings(redis_url=url))
    try:
        return (await store.create("doctor", list(scopes)))[1]
    finally:
        await store.close()


@pytest.mark.slow
def test_keys_their_scopes_and_their_limits_are_examined(tmp_path: Path, capsys: Capture) -> None:
    with Fleet(tmp_path / "fleet", deliverers=0, MASKQ_REQUIRE_KEYS="true") as fleet:
        full = asyncio.run(_new_key(fleet.broker_url, Scope.SUBMIT, Scope.READ))
        reader = asyncio.run(_new_key(fleet.broker_url, Scope.READ))
        submitter = asyncio.run(_new_key(fleet.broker_url, Scope.SUBMIT))
        status, found = _findings(capsys, "--url", fleet.url, "doctor")
        assert (status, found["key"][0]) == (ExitStatus.REFUSED, "failure")
        assert "Set MASKQ_API_KEY" in found["key"][1]
        status, found = _findings(capsys, "--url", fleet.url, "--api-key", full + "x", "doctor")
        assert (status, found["key"][0]) == (ExitStatus.REFUSED, "failure")
        assert "does not know" in found["key"][1]
        status, found = _findings(capsys, "--url", fleet.url, "--api-key", full, "doctor", "--job")
        assert (status, found["job"][0]) == (ExitStatus.OK, "ok")
        assert any(area.startswith("limit") and "600 requests a minute" in found[area][1] for area in found)
        for key, missing in ((reader, "submit"), (submitter, "read")):
            assert run(["--url", fleet.url, "--api-key", key, "doctor", "--job"]) == ExitStatus.REFUSED
            out = capsys.readouterr().out
            assert f"may not {missing}" in out
            assert "job:" not in out
            assert key not in out
