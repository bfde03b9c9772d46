"""URLs from clients, and the servers that they must never reach."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from shared import outbound
from shared.errors import UrlRefused
from shared.outbound import FAILURES, Outbound, is_public
from shared.settings import Settings
from testing.required import require_program
from testing.servers import serving, website

_PUBLIC = "93.184.216.34"
_NAMES = {
    "example.com": [_PUBLIC],
    "xn--exmple-cua.com": [_PUBLIC, "2606:2800:220:1:248:1893:25c8:1946"],
    "localhost": ["127.0.0.1", "::1"],
    "localtest.me": ["127.0.0.1"],  # public names with private addresses are a common attack
    "db.internal": ["10.0.0.7"],
    "metadata.google.internal": ["169.254.169.254"],
    "mixed.example": [_PUBLIC, "192.168.0.1"],
    "linklocal.example": ["fe80::1%eth0"],
}
_SYSTEM_GETADDRINFO = socket.getaddrinfo


class Resolver:
    """Replaces the system's resolver: knows a few names, and records the requested ones."""

    def __init__(self) -> None:
        self.names: dict[str, list[list[str]]] = {name: [addresses] for name, addresses in _NAMES.items()}
        """The results per name, one after the other; the last one is repeated."""
        self.requested: list[str] = []

    def __call__(self, host: str, port: object, **options: Any) -> list[Any]:
        self.requested.append(host)
        if host not in self.names:
            return _SYSTEM_GETADDRINFO(host, None, flags=socket.AI_NUMERICHOST, **options)
        answers = self.names[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


def _check(url: str, **settings: bool) -> None:
    async def check() -> None:
        async with Outbound(Settings.of(**settings).outbound, "webhook_url") as sender:
            await sender.check(url)

    asyncio.run(check())


def _get(url: str, **settings: bool) -> int:
    async def get() -> int:
        async with (
            Outbound(Settings.of(**settings).outbound, "webhook_url") as sender,
            sender.request("GET", url, {}) as response,
        ):
            return response.status

    return asyncio.run(get())


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "https://EXAMPLE.com:443/hook?token=a%20b#part",
        "https://example.com:80",
        "https://xn--exmple-cua.com/",
        f"https://{_PUBLIC}/",
        "https://[2606:4700:4700::1111]/",
    ],
)
def test_public_urls_are_accepted(resolver: Resolver, url: str) -> None:
    _check(url)


_HOSTILE = {
    # schemes
    "http://example.com/": "must begin with https://",
    "ftp://example.com/": "must begin with https://",
    "file:///etc/passwd": "must begin with https://",
    "gopher://example.com/": "must begin with https://",
    "data:text/plain,x": "must begin with https://",
    "javascript:alert(1)": "must begin with https://",
    "unix:///var/run/docker.sock": "must begin with https://",
    "//example.com/": "must begin with https://",
    "example.com": "must begin with https://",
    "": "must begin with https://",
    # form
    "https://": "must name a host",
    "https:///hook": "must name a host",
    "https://./": "must name a host",
    "https://example..com/": "must name a host",
    "https://example.com./": "must name a host",
    "https://exa mple.com/": "printable ASCII",
    "https://example.com/\r\nX-Evil: 1": "printable ASCII",
    "https://example.com/\x00": "printable ASCII",
    "https://exa\tmple.com/": "printable ASCII",
    "https://ex\u00e4mple.com/": "printable ASCII",
    "https://\uff11\uff12\uff17.0.0.1/": "printable ASCII",  # full-width digits
    "https://127\u30020\u30020\u30021/": "printable ASCII",  # ideographic full stops
    "https://\u24db\u24de\u24d2alhost/": "printable ASCII",
    "https://example.com/" + "x" * 9_000: "printable ASCII",
    "https://[::1/": "not a URL",
    "https://[127.0.0.1]/": "(not a URL|must name a host)",  # older versions of Python take it apart
    "https://[v1.fe80]/": "must name a host",
    "https://example.com:99999/": "not a URL",
    "https://example.com:-1/": "not a URL",
    "https://example.com:x/": "not a URL",
    "https://%31%32%37.0.0.1/": "must name a host",
    "https://example.com%2f@127.0.0.1/": "user name",
    "https://example.com%00.evil/": "must name a host",
    # credentials, and text that looks like another host
    "https://user:secret@example.com/": "user name",
    "https://user@example.com/": "user name",
    "https://@example.com/": "user name",
    "https://example.com@127.0.0.1/": "user name",
    "https://127.0.0.1\\@example.com/": "user name",
    "https://example.com\\@127.0.0.1/": "user name",
    "https://127.0.0.1\\.example.com/": "must name a host",
    "https://example.com\\127.0.0.1/": "must name a host",
    "https://127.0.0.1#@example.com/": "public Internet",
    "https://127.0.0.1?@example.com/": "public Internet",
    "https://127.0.0.1;example.com/": "must name a host",
    "https://127.0.0.1,example.com/": "must name a host",
    # ports
    "https://example.com:22/": "only ports",
    "https://example.com:6379/": "only ports",
    "https://example.com:8443/": "only ports",
    "https://example.com:0/": "only ports",
    # IPv4
    "https://127.0.0.1/": "public Internet",
    "https://127.8.8.8/": "public Internet",
    "https://0.0.0.0/": "public Internet",
    "https://10.0.0.1/": "public Internet",
    "https://172.16.0.1/": "public Internet",
    "https://192.168.1.1/": "public Internet",
    "https://100.64.0.1/": "public Internet",  # carrier-grade NAT
    "https://100.100.100.200/": "public Internet",  # metadata of Alibaba
    "https://169.254.169.254/latest/meta-data/": "public Internet",
    "https://168.63.129.16/": "public Internet",  # metadata of Azure
    "https://192.0.0.192/": "public Internet",  # metadata of Oracle
    "https://192.0.2.1/": "public Internet",
    "https://198.18.0.1/": "public Internet",
    "https://224.0.0.1/": "public Internet",
    "https://240.0.0.1/": "public Internet",
    "https://255.255.255.255/": "public Internet",
    # IPv4 in unusual forms
    "https://127.1/": "must name a host",
    "https://127.0.1/": "must name a host",
    "https://0/": "must name a host",
    "https://0x7f.1/": "must name a host",
    "https://0x7f000001/": "must name a host",
    "https://0x7f.0.0.0x1/": "must name a host",
    "https://0177.0.0.1/": "must name a host",
    "https://017700000001/": "must name a host",
    "https://2130706433/": "must name a host",
    "https://127.0.0.1./": "must name a host",
    "https://127.0.0.1.0/": "must name a host",
    "https://256.256.256.256/": "must name a host",
    "https://0x/": "must name a host",
    # IPv6
    "https://[::]/": "public Internet",
    "https://[::1]/": "public Internet",
    "https://[::127.0.0.1]/": "public Internet",
    "https://[::ffff:127.0.0.1]/": "public Internet",
    "https://[::ffff:7f00:1]/": "public Internet",
    "https://[::ffff:0:127.0.0.1]/": "public Internet",
    "https://[::ffff:8.8.8.8]/": "public Internet",
    "https://[64:ff9b::127.0.0.1]/": "public Internet",  # NAT64
    "https://[64:ff9b:1::a00:1]/": "public Internet",  # local NAT64
    "https://[2001:0:7f00:1::]/": "public Internet",  # Teredo
    "https://[2002:7f00:1::]/": "public Internet",  # 6to4
    "https://[2001:db8::1]/": "public Internet",
    "https://[3fff::1]/": "public Internet",
    "https://[5f00::1]/": "public Internet",  # segment routing
    "https://[100::1]/": "public Internet",
    "https://[fc00::1]/": "public Internet",
    "https://[fd00:ec2::254]/": "public Internet",  # metadata of AWS
    "https://[fe80::1]/": "public Internet",
    "https://[fe80::1%25eth0]/": "must name a host",
    "https://[2606:4700::1%25lo]/": "must name a host",
    "https://[fec0::1]/": "public Internet",  # site-local
    "https://[ff02::1]/": "public Internet",
    # names
    "https://localhost/": "public Internet",
    "https://LOCALHOST/": "public Internet",
    "https://localtest.me/": "public Internet",
    "https://db.internal/": "public Internet",
    "https://metadata.google.internal/": "public Internet",
    "https://mixed.example/": "public Internet",
    "https://linklocal.example/": "public Internet",
    "https://nowhere.invalid/": "does not resolve",
}


@pytest.mark.parametrize("url", _HOSTILE)
def test_hostile_urls_are_refused_and_the_field_is_named(resolver: Resolver, url: str) -> None:
    with pytest.raises(UrlRefused, match=f"webhook_url: .*{_HOSTILE[url]}"):
        _check(url)
    with pytest.raises(UrlRefused, match="webhook_url: "):
        _get(url)


def test_a_url_of_wrong_form_is_refused_without_resolving_it(resolver: Resolver) -> None:
    for url, why in _HOSTILE.items():
        if why not in ("public Internet", "does not resolve"):
            with pytest.raises(UrlRefused):
                _check(url)
    assert resolver.requested == []


@given(st.text(max_size=60), st.sampled_from(("", "https://", "https://[", "https://example.com", "https://127.0.0.1")))
def test_any_text_is_accepted_or_refused_without_other_errors(text: str, prefix: str) -> None:
    sender = Outbound(Settings.of().outbound, "image_url")
    try:
        parts = sender.check_form(prefix + text)
    except UrlRefused:
        return
    assert parts.scheme == "https"
    assert parts.hostname


@given(st.ip_addresses())
def test_no_address_that_is_not_global_is_public(address: Any) -> None:
    assert not is_public(str(address)) or (address.is_global and not address.is_multicast)


def test_ports_and_private_addresses_can_be_allowed(resolver: Resolver) -> None:
    _check("https://127.0.0.1:8443/", url_allow_private=True)
    _check("http://localhost:8080/", url_allow_private=True, url_allow_http=True)
    with pytest.raises(UrlRefused, match="must begin with https://"):
        _check("http://127.0.0.1/", url_allow_private=True)
    with pytest.raises(UrlRefused, match="public Internet"):
        _check("http://127.0.0.1/", url_allow_http=True)
    with pytest.raises(UrlRefused, match="user name"):
        _check("https://me@127.0.0.1/", url_allow_private=True)


class _Site(BaseHTTPRequestHandler):
    hosts: list[str | None]

    def do_GET(self) -> None:
        type(self).hosts.append(self.headers["Host"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The port of a website on loopback; this port is allowed."""
    _Site.hosts = []
    with website(_Site) as url:
        port = int(url.rpartition(":")[2])
        monkeypatch.setattr(outbound, "_PORTS", {port})
        yield port


@pytest.mark.parametrize("second", [["127.0.0.1"], [_PUBLIC, "127.0.0.1"], ["::1"]])
def test_a_name_that_resolves_differently_the_second_time_is_refused(
    resolver: Resolver, port: int, second: list[str]
) -> None:
    resolver.names["rebind.example"] = [[_PUBLIC], second]
    url = f"http://rebind.example:{port}/"
    _check(url, url_allow_http=True)
    with pytest.raises(UrlRefused, match="public Internet"):
        _get(url, url_allow_http=True)
    assert _Site.hosts == []


def test_the_connection_goes_to_the_address_that_was_checked(
    resolver: Resolver, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []

    def is_public(address: str) -> bool:
        checked.append(address)
        return address == "127.0.0.1"

    monkeypatch.setattr(outbound, "is_public", is_public)
    resolver.names["rebind.example"] = [["127.0.0.1"], ["10.0.0.1"]]
    assert _get(f"http://rebind.example:{port}/", url_allow_http=True) == 200
    assert checked == ["127.0.0.1"]
    assert resolver.requested == ["rebind.example"]
    assert _Site.hosts == [f"rebind.example:{port}"]


@contextmanager
def _tls_website(folder: Path, name: str) -> Iterator[int]:
    """A website on loopback with a certificate for `name`, which is in `folder`. Yields its port."""
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    openssl = [require_program("openssl"), "req", *options, "-addext", f"subjectAltName=DNS:{name}", *files]
    subprocess.run(openssl, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Site) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        with serving(server):
            yield server.server_port


def test_tls_verifies_the_name_although_the_connection_is_to_an_address(
    resolver: Resolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _Site.hosts = []
    resolver.names |= {name: [["127.0.0.1"]] for name in ("right.example", "wrong.example")}
    monkeypatch.setattr(outbound, "is_public", lambda address: address == "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with _tls_website(tmp_path, "right.example") as port:
        monkeypatch.setattr(outbound, "_PORTS", {port})
        assert _get(f"https://right.example:{port}/") == 200
        with pytest.raises(FAILURES):
            _get(f"https://wrong.example:{port}/")
    assert _Site.hosts == [f"right.example:{port}"]


def test_names_that_hang_delay_only_the_client_that_sent_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """For checks and for requests, with and without private addresses."""
    may_end = threading.Event()
    hanging = []

    def getaddrinfo(host: str, *_: object, **__: object) -> list[Any]:
        if host.startswith("hanging"):
            hanging.append(host)
            may_end.wait(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (_PUBLIC if "public" in host else "127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    async def attack(outbound: Outbound, number: int) -> None:
        with contextlib.suppress(UrlRefused, *FAILURES):
            async with outbound.request("GET", f"https://hanging-{number}.example/", {}, client="greedy"):
                pass

    async def main(**settings: bool) -> None:
        hanging.clear()
        async with Outbound(Settings.of(**settings).outbound, "webhook_url") as outbound:
            attacks = [asyncio.create_task(attack(outbound, number)) for number in range(100)]
            attacks += [
                asyncio.create_task(outbound.check(f"https://hanging-{number}.example/", "greedy"))
                for number in range(100)
            ]
            async with asyncio.timeout(20):
                while len(hanging) < 48:  # noqa: ASYNC110  threads set no event
                    await asyncio.sleep(0.01)
                await outbound.check("https://public.example/", "neighbour")
                with pytest.raises((UrlRefused, *FAILURES)):
                    async with outbound.request("GET", "https://127.0.0.1:9/", {}, client="neighbour"):
                        pass
            assert len(hanging) == 48
            for task in attacks:
                task.cancel()
            await asyncio.gather(*attacks, return_exceptions=True)
            await outbound.check("https://public.example/", "neighbour")

    try:
        asyncio.run(main())
        asyncio.run(main(url_allow_private=True))
    finally:
        may_end.set()


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700:4700::1111", True),
        ("192.88.99.1", False),
        ("2001:4:112::1", False),
        ("::8.8.8.8", False),
    ],
)
def test_only_addresses_of_the_public_internet_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public
