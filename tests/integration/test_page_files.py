"""The files of the page at /: their policy, and how long browsers keep them."""

from __future__ import annotations

import io
import re

import httpx2
import numpy as np
from PIL import Image

from shared.store.leases import LeaseStore
from testing.pictures import gradient
from tests.jobs import assert_problem, finish_next, submit

_HTML = {"Accept": "text/html"}


def _files(client: httpx2.Client) -> list[str]:
    return re.findall(r'(?:src|href)="(assets/[^"]+)"', client.get("/", headers=_HTML).text)


def test_the_page_has_no_script_or_style_inside(client: httpx2.Client) -> None:
    answer = client.get("/", headers=_HTML)
    policy = answer.headers["content-security-policy"]
    assert "unsafe-inline" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert not re.search(r"<style|style=|<script>|\son\w+=|\{\{", answer.text)
    assert "http://" not in answer.text


def test_browsers_keep_the_files_of_this_version_forever(client: httpx2.Client) -> None:
    files = _files(client)
    assert [path.rpartition(".")[2] for path in files] == ["css", "js"]
    for path in files:
        answer = client.get(f"/{path}")
        assert answer.status_code == 200
        assert answer.headers.get_list("cache-control") == ["public, max-age=31536000, immutable"]
        assert answer.headers["content-type"].startswith(("text/css", "text/javascript"))
        known = client.get(f"/{path}", headers={"If-None-Match": answer.headers["etag"]})
        assert (known.status_code, known.content) == (304, b"")


def test_every_module_that_is_imported_is_there(client: httpx2.Client) -> None:
    (_, path), seen = _files(client), set[str]()
    folder, _, name = path.rpartition("/")
    waiting = [name]
    while waiting:
        name = waiting.pop()
        answer = client.get(f"/{folder}/{name}")
        assert answer.status_code == 200, name
        seen.add(name)
        waiting += set(re.findall(r'from "\./([^"]+)"', answer.text)) - seen
    assert len(seen) > 15
    assert "innerHTML" not in "".join(client.get(f"/{folder}/{each}").text for each in seen)


def test_a_page_of_another_version_gets_files_that_its_browser_does_not_keep(client: httpx2.Client) -> None:
    answer = client.get("/assets/page-0123456789abcdef/app.js")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-cache")
    for path in ("nothing.js", "..%2findex.html", "%2e%2e/index.html"):
        assert client.get(f"/assets/page-0/{path}").status_code == 404


def test_the_picture_of_a_job_has_no_masks(client: httpx2.Client, leases: LeaseStore) -> None:
    job = submit(client).json()["urls"]["self"]
    assert_problem(client.get(f"{job}/picture.png"), 409, "result_not_ready")
    finish_next(leases)
    answer = client.get(f"{job}/picture.png")
    assert answer.headers["content-type"] == "image/png"
    assert (np.asarray(Image.open(io.BytesIO(answer.content))) == np.asarray(gradient(64, 48))).all()
