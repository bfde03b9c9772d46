"""All links are right behind a proxy with TLS and a path: nginx, which removes the path or passes it on."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from local.broker import free_port
from shared.settings import Settings
from shared.store.leases import LeaseStore
from testing.factories import segmented_object, success
from testing.reverse_proxy import nginx
from testing.scripted_receiver import Receiver
from testing.servers import front_end
from tests.jobs import PNG, assert_problem, finish_next, submit
from webhooks.app import DelivererThread

pytestmark = pytest.mark.slow

_FORWARDED = {"Host": "api", "X_Forwarded_Proto": "$scheme", "X_Forwarded_Host": "$http_host"}
_KINDS = {
    "setting, path removed": (True, "/", {}),
    "setting, path passed on": (True, "", {}),
    "headers, path removed": (False, "/", {**_FORWARDED, "X_Forwarded_Prefix": "/maskq"}),
    "headers, path passed on": (False, "", {**_FORWARDED, "X_Forwarded_Prefix": "/maskq"}),
}
"""Whether MASKQ_PUBLIC_URL is set, the path that nginx sends instead of `/maskq/`, and the headers that it sets."""


@dataclass(frozen=True)
class Proxied:
    """A service behind nginx."""

    settings: Settings
    url: str
    """What clients know: `https://localhost:PORT/maskq`."""
    client: httpx2.Client

    def get(self, url: str, **options: Any) -> httpx2.Response:
        """Get a link, which must be one of this service."""
        assert url.startswith(f"{self.url}/"), url
        return self.client.get(url, **options)


@pytest.fixture(params=_KINDS)
def proxied(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Iterator[Proxied]:
    has_setting, path, headers = _KINDS[request.param]
    port = free_port()
    url = f"https://localhost:{port}/maskq"
    changes = {"public_url": url} if has_setting else {}
    allowed = settings.replace(url_allow_http=True, url_allow_private=True, allowed_hosts="api", **changes)
    with (
        front_end(allowed) as upstream,
        nginx(tmp_path, port, f"{upstream}{path}", "/maskq/", **headers),
        httpx2.Client(timeout=20, verify=_trusting(tmp_path / "certificate.pem")) as client,
    ):
        yield Proxied(allowed, url, client)


def _trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate)


def _submit(proxied: Proxied, path: str = "segment/", **fields: str) -> httpx2.Response:
    data = {"prompt": "cat", **fields}
    return proxied.client.post(f"{proxied.url}/{path}", data=data, files={"image_file": ("a.png", PNG)})


def _walk(proxied: Proxied, urls: dict[str, Any]) -> None:
    """Follow every link of a finished job."""
    kinds = {"self": "application/json", "events": "text/event-stream", "overlay": "image/png"}
    for name, kind in {**kinds, "result": "application/json"}.items():
        answer = proxied.get(urls[name])
        assert answer.status_code == 200, f"{name}: {answer.text}"
        assert answer.headers["content-type"].startswith(kind)
    for url in urls["masks"]:
        assert proxied.get(url).headers["content-type"] == "image/png"
    assert urls["cancel"].startswith(f"{proxied.url}/")
    problem = assert_problem(proxied.client.post(urls["cancel"]), 409, "job_ended")
    assert problem["instance"] == urlsplit(urls["cancel"]).path


def test_every_link_of_a_job_and_of_its_webhook_works(proxied: Proxied, leases: LeaseStore) -> None:
    with Receiver().listening() as receiver:
        accepted = _submit(proxied, webhook_url=f"http://127.0.0.1:{receiver.port}/")
        assert accepted.status_code == 202, accepted.text
        finish_next(leases)
        deliverer = DelivererThread(proxied.settings)
        try:
            receiver.wait_for(1)
        finally:
            deliverer.stop()
    job = proxied.get(accepted.json()["urls"]["self"]).json()
    assert len(job["urls"]["masks"]) == 1
    _walk(proxied, job["urls"])
    sent = json.loads(receiver.received[0].body)["data"]["urls"]
    assert sent == {**job["urls"], "masks": []}
    streamed = re.findall(r"^data: (.*)$", proxied.get(job["urls"]["events"]).text, re.MULTILINE)
    assert json.loads(streamed[-1])["urls"] == job["urls"]
    (listed,) = proxied.get(f"{proxied.url}/jobs").json()["jobs"]
    assert listed["urls"]["self"] == job["urls"]["self"]


@pytest.mark.parametrize("path", ["segment", "segment/"])
def test_location_names_the_job(proxied: Proxied, path: str) -> None:
    accepted = _submit(proxied, path)
    location = str(accepted.url.join(accepted.headers["location"]))
    assert location == accepted.json()["urls"]["self"]
    assert proxied.get(location).json()["id"] == accepted.json()["id"]


def test_every_link_of_the_index_works(proxied: Proxied) -> None:
    index = proxied.get(f"{proxied.url}/").json()
    links = {name: url for name, url in index.items() if name not in ("name", "model", "segment")}
    assert len(links) == 4
    assert [proxied.get(url).status_code for url in links.values()] == [200] * 4
    assert index["segment"] == f"{proxied.url}/segment/"


@pytest.mark.parametrize(("path", "target"), [("/jobs/", "/jobs"), ("/docs/", "/docs"), ("/redoc", "/docs")])
def test_redirects_stay_under_the_path(proxied: Proxied, path: str, target: str) -> None:
    answer = proxied.client.get(proxied.url + path, follow_redirects=False)
    assert answer.is_redirect
    assert str(answer.url.join(answer.headers["location"])) == proxied.url + target


def test_the_pages_load_everything_from_under_the_path(proxied: Proxied) -> None:
    for path in ("/", "/docs"):
        page = proxied.get(proxied.url + path, headers={"Accept": "text/html"})
        assert page.status_code == 200
        base = re.search(r'<base href="(.*?)">', page.text)
        at = page.url.join(base[1] if base else "")
        for link in re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page.text):
            assert proxied.get(str(at.join(link))).status_code == 200, link


def test_the_openapi_document_names_the_server(proxied: Proxied) -> None:
    document = proxied.get(f"{proxied.url}/openapi.json")
    (server,) = document.json()["servers"]
    assert str(document.url.join(server["url"])) == proxied.url


def test_the_service_also_answers_without_the_proxy(settings: Settings) -> None:
    """Health checks and Prometheus use no path. The page works through a forwarded port."""
    with front_end(settings.replace(public_url="https://a.example/maskq")) as url:
        for path in ("/livez", "/readyz", "/maskq/livez", "/", "/maskq", "/maskq/", "/metrics"):
            assert httpx2.get(url + path, follow_redirects=path != "/maskq").status_code in (200, 307), path
        bare = httpx2.get(f"{url}/maskq", follow_redirects=False)
        assert bare.headers["location"] == "https://a.example/maskq/"


def test_no_header_of_a_client_changes_a_link(settings: Settings, leases: LeaseStore) -> None:
    forged = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Prefix": "/evil"}
    headers = {
        **forged,
        "X-Forwarded-Proto": "http",
        "Forwarded": "host=evil.example",
        "X-Original-Host": "evil.example",
    }
    public = settings.replace(
        public_url="https://a.example", allowed_hosts="*", url_allow_http=True, url_allow_private=True
    )
    with front_end(public) as url, httpx2.Client(base_url=url, headers=headers) as client:
        accepted = submit(client, webhook_url="http://127.0.0.1:9/")
        lease = leases.claim("demo", is_idle=True)
        assert lease is not None
        assert lease.job.webhook is not None
        assert lease.job.webhook.base_url == "https://a.example/"
        assert leases.finish(lease, success(segmented_object()))
        job = f"/jobs/{accepted.json()['id']}"
        paths = (
            "/",
            "/jobs",
            job,
            f"{job}/events",
            "/jobs/",
            "/openapi.json",
            "/docs",
            f"{job}/result?format=labelstudio",
        )
        for answer in [accepted, *(client.get(path, follow_redirects=False) for path in paths)]:
            assert "evil" not in answer.text + str(answer.headers), answer.url
        assert accepted.json()["urls"]["self"] == f"https://a.example{job}"


@pytest.mark.parametrize("proxies", ["127.0.0.0/8,10.0.0.0/8", "*", "10.0.0.0/8"])
@pytest.mark.parametrize(
    "forged",
    [
        {"X-Forwarded-For": "10.0.0.1"},
        {"X-Forwarded-For": "10.0.0.1, 203.0.113.9"},  # nginx has added the second
        {"X-Forwarded-Proto": "https"},
        {"Forwarded": "for=10.0.0.1"},
    ],
)
def test_metrics_are_not_shown_through_a_proxy_whatever_a_client_says(
    settings: Settings, proxies: str, forged: dict[str, str]
) -> None:
    open_to_cluster = settings.replace(metrics_allow="10.0.0.0/8,127.0.0.0/8", forwarded_allow_ips=proxies)
    with front_end(open_to_cluster) as url:
        for path in ("/metrics", "/metrics%0a"):
            assert httpx2.get(f"{url}{path}", headers=forged).status_code == 404
        assert httpx2.get(f"{url}/metrics").status_code == 200


def test_only_one_module_reads_the_address_of_a_request(root: Path) -> None:
    own = root / "api" / "http" / "public_address.py"
    pattern = re.compile(
        r"request\.base_url|url_for\(|request\.url\b(?!\.path)|x-forwarded|headers\[\"host\"\]", re.IGNORECASE
    )
    files = [file for file in (root / "api").rglob("*.py") if file != own]
    assert [str(file) for file in files if pattern.search(file.read_text("utf-8"))] == []
