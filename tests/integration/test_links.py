"""Signed URLs: what a browser reads with them, and that they grant nothing else."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import httpx2
import pytest
from redis import Redis

from api.auth import link
from api.routes import events
from shared.domain.api_key import Scope, fingerprint
from shared.domain.job import new_job_id
from shared.settings import Settings
from shared.store import key_names
from shared.store.api_keys import ApiKeyStore
from shared.store.leases import LeaseStore
from testing.servers import front_end
from tests.jobs import assert_problem, finish_next, submit

_KINDS = ("events", "overlay", "picture", "masks", "results")
_FORMATS = {"maskq", "coco", "coco-polygon", "roboflow", "labelstudio"}

MakeKey = Callable[..., str]


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    return settings.replace(require_keys=True)


@pytest.fixture
def make_key(guarded: Settings) -> MakeKey:
    """A function that makes a key and returns its secret."""

    async def make(scopes: tuple[Scope, ...], **limits: Any) -> str:
        store = ApiKeyStore.connect(guarded.redis)
        try:
            return (await store.create("somebody", scopes, **limits))[1]
        finally:
            await store.close()

    return lambda *scopes, **limits: asyncio.run(make(scopes or (Scope.SUBMIT, Scope.READ), **limits))


@pytest.fixture
def url(guarded: Settings) -> Iterator[str]:
    """The address of a front end that requires keys."""
    with front_end(guarded) as url:
        yield url


@pytest.fixture
def browser(url: str) -> Iterator[httpx2.Client]:
    """A client without a key."""
    with httpx2.Client(base_url=url, timeout=20, verify=False) as client:
        yield client


def _owner(url: str, secret: str) -> httpx2.Client:
    return httpx2.Client(base_url=url, timeout=20, verify=False, headers={"Authorization": f"Bearer {secret}"})


@pytest.fixture
def owner(url: str, make_key: MakeKey) -> Iterator[httpx2.Client]:
    """A client with a key."""
    with _owner(url, make_key()) as client:
        yield client


def _links(client: httpx2.Client, job_id: str, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/jobs/{job_id}/links", json=body)
    assert answer.status_code == 200, answer.text
    links: dict[str, Any] = answer.json()
    return links


def _all(links: dict[str, Any]) -> list[str]:
    return [links["events"], links["overlay"], links["picture"], *links["masks"], *links["results"].values()]


@pytest.fixture
def job_id(owner: httpx2.Client, leases: LeaseStore) -> str:
    """A job that has succeeded."""
    job_id: str = submit(owner).json()["id"]
    finish_next(leases)
    return job_id


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A function that moves the clock of links by some seconds."""

    class _Clock:
        ahead_s = 0.0

        def time(self) -> float:
            return time.time() + self.ahead_s

    clock = _Clock()
    monkeypatch.setattr(link, "time", clock)
    return lambda seconds: setattr(clock, "ahead_s", seconds)


Later = Callable[[float], None]

# --- What a link grants -----------------------------------------------------------------------------------------------


def test_a_link_shows_what_it_names_without_a_key(owner: httpx2.Client, browser: httpx2.Client, job_id: str) -> None:
    links = _links(owner, job_id)
    assert set(links) == {"expires_at", *_KINDS}
    assert set(links["results"]) == _FORMATS
    for address in _all(links):
        plain = address.rpartition("sig=")[0][:-1]
        assert_problem(browser.get(plain), 401, "key_required")
        shown, expected = browser.get(address), owner.get(plain)
        assert (shown.status_code, shown.content) == (200, expected.content)
        assert shown.headers["content-type"] == expected.headers["content-type"]
        head = browser.head(address)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == shown.headers["content-type"]
    assert browser.get(links["overlay"]).content.startswith(b"\x89PNG")
    assert f'"id":"{job_id}"' in browser.get(links["events"]).text


def test_links_can_be_made_before_the_job_has_ended(
    owner: httpx2.Client, browser: httpx2.Client, leases: LeaseStore
) -> None:
    job_id = submit(owner).json()["id"]
    links = _links(owner, job_id)
    assert links["masks"] == []
    assert_problem(browser.get(links["overlay"]), 409, "result_not_ready")
    finish_next(leases)
    assert browser.get(links["overlay"]).status_code == 200
    assert len(_links(owner, job_id)["masks"]) == 1


def test_answers_to_links_may_be_shown_by_other_pages_and_are_not_shared(
    owner: httpx2.Client, browser: httpx2.Client, job_id: str
) -> None:
    for address in _all(_links(owner, job_id)):
        answer = browser.get(address)
        assert answer.headers.get_list("cross-origin-resource-policy") == ["cross-origin"]
        assert answer.headers.get_list("cache-control") == ["private, no-cache"]
        assert answer.headers.get_list("referrer-policy") == ["no-referrer"]
        plain = owner.get(address.rpartition("sig=")[0][:-1])
        assert plain.headers.get_list("cross-origin-resource-policy") == ["same-origin"]


def test_a_copy_of_the_browser_is_checked_again(owner: httpx2.Client, browser: httpx2.Client, job_id: str) -> None:
    overlay = _links(owner, job_id)["overlay"]
    known = {"If-None-Match": browser.get(overlay).headers["etag"]}
    assert browser.get(overlay, headers=known).status_code == 304
    owner.delete(f"/jobs/{job_id}")
    assert_problem(browser.get(overlay, headers=known), 410, "job_deleted")


def test_links_begin_with_the_public_url(guarded: Settings, make_key: MakeKey, leases: LeaseStore) -> None:
    public = guarded.replace(public_url="https://example.com/maskq")
    with front_end(public) as url, _owner(url, make_key()) as owner, httpx2.Client(base_url=url) as browser:
        job_id = submit(owner).json()["id"]
        finish_next(leases)
        for address in _all(_links(owner, job_id)):
            assert address.startswith(f"https://example.com/maskq/jobs/{job_id}/")
            for path in (
                address.removeprefix("https://example.com"),
                address.removeprefix("https://example.com/maskq"),
            ):
                assert browser.get(path).status_code == 200


def test_links_work_without_keys_and_expire_there_too(client: httpx2.Client, leases: LeaseStore, later: Later) -> None:
    job_id = submit(client).json()["id"]
    finish_next(leases)
    links = _links(client, job_id)
    for address in _all(links):
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert_problem(client.get(f"{links['overlay']}x"), 403, "link_invalid")
    later(301)
    assert_problem(client.get(links["overlay"]), 403, "link_expired")


def test_a_link_made_without_keys_opens_nothing_when_keys_are_on(
    client: httpx2.Client, browser: httpx2.Client, leases: LeaseStore
) -> None:
    job_id = submit(client).json()["id"]
    finish_next(leases)
    for address in _all(_links(client, job_id)):
        path = address.removeprefix(str(client.base_url).rstrip("/"))
        assert client.get(path).status_code == 200
        assert_problem(browser.get(path), 403, "link_invalid")


# --- What it does not grant -------------------------------------------------------------------------------------------


def test_no_part_of_a_link_can_be_changed(
    owner: httpx2.Client, browser: httpx2.Client, job_id: str, leases: LeaseStore, make_key: MakeKey
) -> None:
    other_id = submit(owner).json()["id"]
    finish_next(leases)
    links = _links(owner, job_id)
    expires_at, _, code = links["overlay"].partition("sig=")[2].split(".")
    coco = links["results"]["coco"]
    changed = [
        links["overlay"].replace(job_id, other_id),
        links["overlay"].replace(job_id, new_job_id()),
        links["overlay"].replace("overlay", "picture"),
        links["overlay"].replace("overlay.png", "masks/0.png"),
        links["overlay"].replace("overlay.png", "events"),
        links["overlay"].replace(expires_at, str(int(expires_at) + 1)),
        links["overlay"].replace(fingerprint(owner.headers["authorization"][7:]), fingerprint(make_key())),
        links["overlay"].replace(fingerprint(owner.headers["authorization"][7:]), ""),
        links["overlay"].replace(code, code[::-1]),
        links["overlay"].replace(code, _links(owner, other_id)["overlay"].rpartition(".")[2]),
        links["overlay"][:-1],
        f"{links['overlay']}&sig={links['overlay'].partition('sig=')[2]}",
        links["overlay"].replace("sig=", "sig=&sig="),
        f"{coco.partition('?')[0]}?{coco.partition('&')[2]}",
        coco.replace("format=coco", "format=roboflow"),
        coco.replace("format=coco", "format=labelstudio&from_name=a"),
        coco.replace("format=coco", "format=coco&format=maskq"),
        links["results"]["labelstudio"].replace("&sig", "&from_name=a&sig"),
        f"{links['results']['labelstudio']}&from_name=a",
    ]
    assert len({*changed, *_all(links)}) == len(changed) + len(_all(links))
    for address in changed:
        problem = assert_problem(browser.get(address), 403, "link_invalid")
        assert "ask for a new one" in problem["detail"]
        assert_problem(owner.get(address), 403, "link_invalid")  # a key does not mend it
        assert browser.head(address).status_code == 403
    for address in (f"{links['overlay']}&wait=1", links["overlay"].replace("sig=", "a=1&sig=")):
        assert_problem(browser.get(address), 422, "invalid_field")
    for address in _all(links):
        assert browser.get(address).status_code == 200


def test_a_link_changes_nothing_and_reads_nothing_else(
    owner: httpx2.Client, browser: httpx2.Client, job_id: str
) -> None:
    links = _links(owner, job_id)
    for address in _all(links):
        for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            assert browser.request(method, address).status_code in {405, 422}
        signature = address[address.index("sig=") :]
        paths = ("", "/webhooks", "/cancel", "/links", "/webhooks/redeliver")
        for path in (*(f"/jobs/{job_id}{path}" for path in paths), "/jobs", "/limits", "/segment/"):
            for method in ("GET", "POST", "DELETE"):
                assert browser.request(method, f"{path}?{signature}").status_code in {401, 405, 422}
    assert owner.get(f"/jobs/{job_id}").json()["status"] == "succeeded"


def test_only_who_may_read_the_job_gets_links(url: str, make_key: MakeKey, job_id: str) -> None:
    with _owner(url, make_key()) as other, _owner(url, make_key(Scope.SUBMIT)) as submits:
        assert_problem(other.post(f"/jobs/{job_id}/links"), 404, "job_not_found")
        assert_problem(submits.post(f"/jobs/{job_id}/links"), 403, "scope_missing")
        assert_problem(submits.post(f"/jobs/{submit(submits).json()['id']}/links"), 403, "scope_missing")
    with _owner(url, make_key(Scope.ADMIN)) as admin:
        assert httpx2.get(_links(admin, job_id)["overlay"]).status_code == 200
    assert_problem(httpx2.post(f"{url}/jobs/{job_id}/links"), 401, "key_required")


# --- When it ends -----------------------------------------------------------------------------------------------------


def test_a_link_ends_at_its_time(owner: httpx2.Client, browser: httpx2.Client, job_id: str, later: Later) -> None:
    made_at = time.time()
    links = _links(owner, job_id, expires_in_s=60)
    rest_s = datetime.fromisoformat(links["expires_at"]).timestamp() - made_at
    assert 60 <= rest_s <= 62
    later(58)
    assert all(browser.get(address).status_code == 200 for address in _all(links))
    later(63)
    for address in _all(links):
        assert_problem(browser.get(address), 403, "link_expired")
        assert_problem(browser.get(f"{address}x"), 403, "link_invalid")
    assert owner.get(f"/jobs/{job_id}").status_code == 200


@pytest.mark.parametrize(
    ("body", "rest_s"), [(None, 300), ({}, 300), ({"expires_in_s": 1.5}, 1.5), ({"expires_in_s": 3600}, 3600)]
)
def test_the_client_chooses_the_time(client: httpx2.Client, body: Any, rest_s: float) -> None:
    address, now = f"/jobs/{submit(client).json()['id']}/links", time.time()
    answer = client.post(address, json=body) if body is not None else client.post(address)
    assert abs(datetime.fromisoformat(answer.json()["expires_at"]).timestamp() - now - rest_s) <= 2


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ('{"expires_in_s": 0}', 422, "expires_in_s"),
        ('{"expires_in_s": -1}', 422, "expires_in_s"),
        ('{"expires_in_s": 3601}', 422, "expires_in_s"),
        ('{"expires_in_s": 0.9}', 422, "expires_in_s"),
        ('{"expires_in_s": []}', 422, "expires_in_s"),
        ('{"expires_in_s": 1e400}', 422, "expires_in_s"),
        ('{"expires_in_s": NaN}', 422, "expires_in_s"),
        ('{"expires_in_s": "60"}', 422, "expires_in_s"),
        ('{"expires_in_s": true}', 422, "expires_in_s"),
        ('{"expires_in_s": null}', 422, "expires_in_s"),
        ('{"expires_in_s": 60, "expires_in_s": 3600}', 400, "twice"),
        ('{"expiresIn": 60}', 422, "did you mean expires_in_s?"),
        ('{"ttl": 60}', 422, "did you mean expires_in_s?"),
        ("[]", 400, "object"),
        ("{", 400, "JSON"),
        ("\xff", 400, "JSON"),
        ("[" * 900, 400, "JSON"),
        (f'{{"a": "{"x" * 1_000}"}}', 400, "at most 1,000 bytes"),
    ],
)
def test_a_wrong_wish_is_refused(client: httpx2.Client, body: str, status: int, word: str) -> None:
    answer = client.post(f"/jobs/{submit(client).json()['id']}/links", content=body.encode("latin-1"))
    code = "malformed_request" if status == 400 else "invalid_field"
    assert word in assert_problem(answer, status, code)["detail"]


def test_a_wish_in_the_query_is_refused(client: httpx2.Client) -> None:
    answer = client.post(f"/jobs/{submit(client).json()['id']}/links?expires_in_s=60")
    assert "in the body" in assert_problem(answer, 422, "invalid_field")["detail"]


def test_a_link_ends_with_its_key_at_once(
    owner: httpx2.Client, browser: httpx2.Client, job_id: str, guarded: Settings
) -> None:
    links = _links(owner, job_id)
    with Redis.from_url(guarded.redis.redis_url) as redis:
        assert redis.hdel(key_names.API_KEYS, fingerprint(owner.headers["authorization"][7:])) == 1
    for address in _all(links):
        assert_problem(browser.get(address), 403, "link_invalid")


def test_a_link_ends_with_its_job_at_once(owner: httpx2.Client, browser: httpx2.Client, job_id: str) -> None:
    links = _links(owner, job_id)
    assert owner.delete(f"/jobs/{job_id}").status_code == 204
    for address in _all(links):
        assert_problem(browser.get(address), 410, "job_deleted")


def test_all_links_end_when_the_operator_deletes_the_secret(
    owner: httpx2.Client, browser: httpx2.Client, job_id: str, guarded: Settings
) -> None:
    old = _links(owner, job_id)
    with Redis.from_url(guarded.redis.redis_url) as redis:
        assert redis.delete(key_names.LINK_SECRET) == 1
    assert_problem(browser.get(old["overlay"]), 403, "link_invalid")
    assert browser.get(_links(owner, job_id)["overlay"]).status_code == 200


def test_all_front_ends_know_all_links(guarded: Settings, make_key: MakeKey, leases: LeaseStore) -> None:
    with front_end(guarded) as one, front_end(guarded) as two, _owner(one, make_key()) as owner:
        job_id = submit(owner).json()["id"]
        finish_next(leases)
        for address in _all(_links(owner, job_id)):
            assert httpx2.get(address.replace(one, two)).status_code == 200


# --- Event streams ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["time", "key"])
def test_an_open_stream_ends_with_its_link(
    owner: httpx2.Client,
    browser: httpx2.Client,
    guarded: Settings,
    later: Later,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    monkeypatch.setattr(events, "PING_S", 0.05)
    stream = _links(owner, submit(owner).json()["id"])["events"]
    with browser.stream("GET", stream) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: ")
        if end == "time":
            later(301)
        else:
            with Redis.from_url(guarded.redis.redis_url) as redis:
                redis.hdel(key_names.API_KEYS, fingerprint(owner.headers["authorization"][7:]))
        rest = list(lines)  # until the stream ends
    assert not any(line.startswith("data: ") for line in rest)
    code = {"time": "link_expired", "key": "link_invalid"}[end]
    assert_problem(browser.get(stream, headers={"Last-Event-ID": "1-queued"}), 403, code)


def test_a_browser_reconnects_until_the_link_has_ended(
    owner: httpx2.Client, browser: httpx2.Client, leases: LeaseStore, later: Later
) -> None:
    job_id = submit(owner).json()["id"]
    stream = _links(owner, job_id)["events"]
    finish_next(leases)
    last = re.findall(r"^id: (.+)$", browser.get(stream).text, re.MULTILINE)[-1]
    assert browser.get(stream, headers={"Last-Event-ID": last}).status_code == 204
    assert browser.get(stream, headers={"Last-Event-ID": "0-queued"}).status_code == 200
    later(301)
    for seen in (last, "0-queued"):
        assert_problem(browser.get(stream, headers={"Last-Event-ID": seen}), 403, "link_expired")


def test_the_streams_of_links_count_for_the_key(guarded: Settings, make_key: MakeKey) -> None:
    with front_end(guarded.replace(max_waiters=4)) as url, _owner(url, make_key()) as owner:
        job_id = submit(owner).json()["id"]
        stream = _links(owner, job_id)["events"]
        opened = [httpx2.Client(timeout=20) for _ in range(3)]
        answers = [client.send(client.build_request("GET", stream), stream=True) for client in opened]
        try:
            streams = [answer.iter_lines() for answer in answers]
            assert all(next(stream) for stream in streams)  # they have begun, so they count
            assert_problem(httpx2.get(stream), 429, "share_exceeded")
            assert_problem(owner.get(f"/jobs/{job_id}?wait=1"), 429, "share_exceeded")
        finally:
            for answer in answers:
                answer.close()
            for client in opened:
                client.close()


# --- Rates, and what is written down ----------------------------------------------------------------------------------


def test_requests_of_a_link_use_up_the_rate_of_its_key(
    url: str, browser: httpx2.Client, make_key: MakeKey, leases: LeaseStore
) -> None:
    with _owner(url, make_key(per_minute=0.01, burst=1)) as owner, _owner(url, make_key()) as other:
        job_id = submit(owner).json()["id"]
        finish_next(leases)
        overlay = _links(owner, job_id)["overlay"]  # the first of 20 reads
        forged = overlay.replace("overlay", "picture")
        assert {browser.get(forged).status_code for _ in range(30)} == {403}  # nobody pays for them
        assert [browser.get(overlay).status_code for _ in range(20)] == [200] * 19 + [429]
        assert "retry-after" in browser.get(overlay).headers
        assert_problem(owner.get(f"/jobs/{job_id}"), 429, "rate_limited")
        assert other.get("/jobs").status_code == 200


def test_no_signature_is_logged(
    owner: httpx2.Client,
    browser: httpx2.Client,
    job_id: str,
    later: Later,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level("DEBUG")
    links = _links(owner, job_id)
    for address in _all(links):
        browser.get(address)
        browser.get(f"{address}x")
        browser.delete(address)
        browser.get(address.replace("/jobs/", "/nothing/"))
    monkeypatch.setattr("api.linked.job_of", lambda *_: 1 / 0)
    assert {httpx2.get(address).status_code for address in _all(links)} == {500}
    later(301)
    for address in _all(links):
        browser.get(address)
    silent = ("http", "uvicorn.access")  # this client; and what writes nothing, although pytest listens to it
    records = [record for record in caplog.records if not record.name.startswith(silent)]
    text = "\n".join(f"{record.getMessage()} {vars(record)} {record.exc_text}" for record in records)
    assert f"GET /jobs/{job_id}/overlay.png" in text
    codes = {address.rpartition(".")[2] for address in _all(links)}
    assert len(codes) == len(_all(links))
    assert not any(code in text for code in codes)
    assert "sig=" not in text
