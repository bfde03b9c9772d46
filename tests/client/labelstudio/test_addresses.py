"""Which addresses may be fetched, by whom, and with the token."""

from __future__ import annotations

import base64

import pytest
from maskq.labelstudio.addresses import Addresses
from maskq.labelstudio.problems import NoPrediction

_ROOT = "https://labels.example.com"
_HERE = Addresses(_ROOT)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("/data/upload/3/a.png", f"{_ROOT}/data/upload/3/a.png"),
        ("data/upload/3/a.png", f"{_ROOT}/data/upload/3/a.png"),
        ("/upload/3/a.png", f"{_ROOT}/data/upload/3/a.png"),
        ("upload/3/a.png", f"{_ROOT}/data/upload/3/a.png"),
        ("/data/local-files/?d=cats/1.png", f"{_ROOT}/data/local-files/?d=cats/1.png"),
        ("https://other.example.com/a.png?x=1", "https://other.example.com/a.png?x=1"),
    ],
)
def test_what_a_task_has_is_made_a_full_url(value: str, url: str) -> None:
    assert _HERE.url_of(value, "7") == url


@pytest.mark.parametrize("value", ["s3://bucket/my cat.png", "gs://bucket/a.png", "azure-blob://box/a.png"])
def test_label_studio_reads_what_is_in_a_storage(value: str) -> None:
    head, _, uri = _HERE.url_of(value, "7").partition("=")
    assert head == f"{_ROOT}/tasks/7/presign/?fileuri"
    assert base64.urlsafe_b64decode(uri).decode() == value


@pytest.mark.parametrize(
    "value",
    ["file:///etc/passwd", "FILE:/etc/passwd", "//evil.example/a.png", "C:\\a.png", "ftp://x/a", "", "http://[::1"],
)
def test_other_addresses_are_refused(value: str) -> None:
    with pytest.raises(NoPrediction):
        _HERE.url_of(value, "7")


def test_label_studio_may_be_below_a_path() -> None:
    below = Addresses("https://example.com/labels")
    assert below.url_of("/data/upload/3/a.png", "7") == "https://example.com/labels/data/upload/3/a.png"
    assert below.url_of("/labels/data/upload/3/a.png", "7") == "https://example.com/labels/data/upload/3/a.png"
    assert below.has_token("https://example.com/labels/data/upload/3/a.png")
    assert not below.has_token("https://example.com/elsewhere/a.png")


@pytest.mark.parametrize(
    "url",
    [
        f"{_ROOT}/data/upload/3/a.png",
        f"{_ROOT}:443/data/upload/3/a.png",
        f"{_ROOT}/data/local-files/?d=a.png",
        f"{_ROOT}/storage-data/uploaded/?filepath=a.png",
        f"{_ROOT}/tasks/7/presign/?fileuri=x",
        f"{_ROOT}/projects/7/resolve/?fileuri=x",
    ],
)
def test_files_of_label_studio_are_asked_for_with_the_token(url: str) -> None:
    assert _HERE.has_token(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example.com/data/upload/3/a.png",
        "http://labels.example.com/data/upload/3/a.png",  # not encrypted, so it is another
        f"{_ROOT}:8443/data/upload/3/a.png",
        f"{_ROOT}.evil.example/data/upload/3/a.png",
        "https://labels.example.com@evil.example/data/upload/3/a.png",
        f"{_ROOT}/api/users/",
        f"{_ROOT}/data/upload/../../api/users/",
        f"{_ROOT}/data/upload/%2e%2e/%2e%2e/api/users/",
        f"{_ROOT}/data/upload/..\\..\\api/users/",
        f"{_ROOT}//data/upload/3/a.png",
    ],
)
def test_the_token_is_sent_nowhere_else(url: str) -> None:
    assert not _HERE.has_token(url)


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("images.example.com", "https://images.example.com/a.png"),
        ("Images.Example.com", "http://IMAGES.example.com/a.png"),
        ("*.example.com", "https://images.example.com/a.png"),
        ("minio:9000", "http://minio:9000/a.png"),
        ("[::1]:9000", "http://[::1]:9000/a.png"),
    ],
)
def test_a_host_that_is_allowed_is_fetched_here(allowed: str, url: str) -> None:
    assert Addresses(_ROOT, [allowed]).is_fetched_here(url)
    with pytest.raises(NoPrediction, match="not allowed"):
        _HERE.is_fetched_here(url)
    assert not Addresses(_ROOT, ["*"]).is_fetched_here(url)  # the service fetches it


@pytest.mark.parametrize(
    ("allowed", "url"),
    [
        ("example.com", "https://example.com.evil.example/a.png"),
        ("example.com", "https://example.com:8443/a.png"),
        ("*.example.com", "https://example.com/a.png"),
        ("minio:9000", "http://minio:9001/a.png"),
        ("example.com", "https://example.com@evil.example/a.png"),
        ("*", "file:///etc/passwd"),
        ("*", "https:///a.png"),
    ],
)
def test_a_host_that_is_like_an_allowed_one_is_not(allowed: str, url: str) -> None:
    with pytest.raises(NoPrediction):
        Addresses(_ROOT, [allowed]).is_fetched_here(url)
