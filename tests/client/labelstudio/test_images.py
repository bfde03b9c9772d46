"""Images are fetched from where they are, and the token goes to Label Studio only."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator

import pytest
from maskq import ImageInput
from maskq.labelstudio.addresses import Addresses
from maskq.labelstudio.images import Images
from maskq.labelstudio.problems import NoPrediction
from maskq.labelstudio.protocol import Task

from tests.client.labelstudio.stand_in import TOKEN, StandIn, stand_in

_TASK = Task("7", {})


@pytest.fixture
def outside(png: bytes) -> Iterator[StandIn]:
    """Another host, with `/a.png` for everybody."""
    with stand_in(needs_token=False) as running:
        running.files["/a.png"] = png
        yield running


def fetch(
    label_studio: StandIn, value: object, *allowed: str, max_bytes: int = 10_000, token: str = TOKEN
) -> ImageInput:
    async def fetched() -> ImageInput:
        images = Images(Addresses(label_studio.url, allowed), token, max_bytes)
        try:
            return await images.fetch(value, _TASK)
        finally:
            await images.close()

    return asyncio.run(fetched())


def host_of(server: StandIn) -> str:
    return server.url.removeprefix("http://")


def test_an_uploaded_file_is_fetched_with_the_token(label_studio: StandIn, png: bytes) -> None:
    for value in ("/data/upload/1/photo.png", f" {label_studio.url}/data/upload/1/photo.png"):
        assert fetch(label_studio, value) == png
    assert [token for _, token in label_studio.received] == [f"Token {TOKEN}"] * 2


def test_a_file_in_a_storage_comes_through_label_studio(label_studio: StandIn, png: bytes) -> None:
    label_studio.stored["s3://bucket/a.png"] = png
    assert fetch(label_studio, "s3://bucket/a.png") == png


def test_a_signed_url_of_a_storage_gets_no_token(label_studio: StandIn, outside: StandIn, png: bytes) -> None:
    label_studio.stored["s3://bucket/b.png"] = f"{outside.url}/a.png?signature=secret"
    with pytest.raises(NoPrediction, match="not allowed"):
        fetch(label_studio, "s3://bucket/b.png")
    assert outside.received == []
    assert fetch(label_studio, "s3://bucket/b.png", host_of(outside)) == png
    assert outside.received == [("/a.png?signature=secret", None)]


def test_an_address_outside_is_fetched_only_if_it_is_allowed(
    label_studio: StandIn, outside: StandIn, png: bytes
) -> None:
    url = f"{outside.url}/a.png"
    with pytest.raises(NoPrediction, match="--allow-host"):
        fetch(label_studio, url)
    assert fetch(label_studio, url, host_of(outside)) == png
    assert outside.received == [("/a.png", None)]
    assert fetch(label_studio, url, "*") == url  # the service decides about it


def test_a_redirect_from_outside_cannot_use_the_token(label_studio: StandIn, outside: StandIn) -> None:
    outside.redirects["/b.png"] = f"{label_studio.url}/data/upload/1/photo.png"
    with pytest.raises(NoPrediction, match="401"):
        fetch(label_studio, f"{outside.url}/b.png", host_of(outside))
    assert [token for _, token in label_studio.received] == [None]


def test_a_redirect_cannot_leave_the_allowed_addresses(label_studio: StandIn, outside: StandIn) -> None:
    for target in ("file:///etc/passwd", "http://127.0.0.1:1/x", "//169.254.169.254/latest", "ftp://x/"):
        outside.redirects["/b.png"] = target
        with pytest.raises(NoPrediction):
            fetch(label_studio, f"{outside.url}/b.png", host_of(outside))


def test_redirects_come_to_an_end(label_studio: StandIn) -> None:
    label_studio.redirects["/data/upload/1/round.png"] = "round.png"
    with pytest.raises(NoPrediction, match="redirects"):
        fetch(label_studio, "/data/upload/1/round.png")


def test_the_token_does_not_read_the_api(label_studio: StandIn) -> None:
    with pytest.raises(NoPrediction, match="401"):
        fetch(label_studio, "/api/users/")
    assert [token for _, token in label_studio.received] == [None]


def test_an_image_inside_the_task_needs_no_request(label_studio: StandIn, png: bytes) -> None:
    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    assert fetch(label_studio, url) == url
    assert label_studio.received == []


@pytest.mark.parametrize(
    "value", [None, 7, ["/data/upload/1/photo.png"], {}, "", "file:///etc/passwd", "\x00", "http://"]
)
def test_what_is_no_address_has_a_reason(label_studio: StandIn, value: object) -> None:
    with pytest.raises(NoPrediction):
        fetch(label_studio, value)


def test_a_file_that_is_too_large_is_not_read_to_its_end(label_studio: StandIn) -> None:
    label_studio.files["/data/upload/1/large.png"] = bytes(300_000)
    with pytest.raises(NoPrediction, match="larger"):
        fetch(label_studio, "/data/upload/1/large.png")


def test_a_wrong_token_is_named_without_showing_it(label_studio: StandIn) -> None:
    with pytest.raises(NoPrediction, match="401") as failed:
        fetch(label_studio, "/data/upload/1/photo.png", token="wrong")
    assert "wrong" not in str(failed.value)


def test_a_reason_does_not_show_signatures(label_studio: StandIn, outside: StandIn) -> None:
    label_studio.stored["s3://bucket/c.png"] = f"{outside.url}/gone.png?signature=secret"
    with pytest.raises(NoPrediction, match="404") as failed:
        fetch(label_studio, "s3://bucket/c.png", host_of(outside))
    assert "secret" not in str(failed.value)
