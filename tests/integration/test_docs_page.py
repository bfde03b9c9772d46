"""/docs works without internet: everything that it loads comes from the service, and none of it names another host."""

from __future__ import annotations

import hashlib
from html.parser import HTMLParser
from importlib.resources import files

import httpx2
import pytest

_DIGESTS = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}
"""SHA-256 of the files in the package swagger-ui-dist 5.35.0, as the npm registry has it."""
_LINKS = {"src", "href", "action", "data", "poster", "srcset", "formaction", "manifest"}


class _Links(HTMLParser):
    """Collects every URL in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in _LINKS and value and not value.startswith("data:")]


def _links(page: httpx2.Response) -> list[str]:
    parser = _Links()
    parser.feed(page.text)
    return parser.found


@pytest.mark.parametrize("path", ["/", "/docs", "/redoc"])
def test_everything_that_a_page_loads_comes_from_the_service(client: httpx2.Client, path: str) -> None:
    page = client.get(path, headers={"Accept": "text/html"}, follow_redirects=True)
    assert page.status_code == 200
    assert "://" not in page.text
    assert "'self'" in page.headers["content-security-policy"]
    assert "http" not in page.headers["content-security-policy"]
    for link in _links(page):
        target = page.url.join(link)
        assert (target.host, target.port) == (page.url.host, page.url.port)
        assert client.get(target).status_code == 200, link


def test_the_assets_are_those_of_swagger_and_browsers_keep_them(client: httpx2.Client) -> None:
    page = client.get("/docs")
    kinds = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
    assets = {link.rpartition("/")[2]: client.get(page.url.join(link)) for link in _links(page) if "assets/" in link}
    assert {name: hashlib.sha256(asset.content).hexdigest() for name, asset in assets.items()} == _DIGESTS
    for name, asset in assets.items():
        assert asset.headers["content-type"].startswith(kinds[name])
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("name", ["", "LICENSE", "swagger-ui.css.map", "..%2Findex.html", "%2e%2e/docs.html"])
def test_the_folder_of_assets_has_no_other_files(client: httpx2.Client, name: str) -> None:
    page = client.get("/docs")
    folder = _links(page)[0].rpartition("/")[0]
    assert client.get(f"/{folder}/{name}").status_code == 404


def test_the_licences_come_with_the_assets() -> None:
    (folder,) = [each for each in (files("api") / "pages").iterdir() if each.name.startswith("swagger-ui-")]
    assert "Apache License" in (folder / "LICENSE").read_text("utf-8")
    assert {"NOTICE", "swagger-ui-bundle.js.LICENSE.txt"} <= {each.name for each in folder.iterdir()}
