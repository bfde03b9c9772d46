"""What is refused before a job is accepted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.errors import ImageUnreadable, UnsupportedImage
from shared.images.sandbox import DecodingPool
from shared.images.upload_check import UploadCheck
from shared.settings import ImageSettings, Settings
from testing.pictures import encoded, gradient

_JPEG = encoded(gradient(640, 480), "JPEG")


@pytest.fixture
def settings() -> ImageSettings:
    return Settings.of(decode_processes=1, image_formats="jpeg, png").images


@pytest.fixture
def uploads(settings: ImageSettings) -> Iterator[UploadCheck]:
    with DecodingPool(settings) as decoders:
        yield UploadCheck(settings, decoders)


def test_a_jpeg_that_lacks_its_end_is_taken_and_one_that_lacks_its_half_is_not(uploads: UploadCheck) -> None:
    uploads.check(_JPEG)
    uploads.check(_JPEG[:-2])
    with pytest.raises(ImageUnreadable, match="lacks"):
        uploads.check(_JPEG[: len(_JPEG) // 2])


def test_only_the_formats_of_the_deployment_are_taken(uploads: UploadCheck) -> None:
    with pytest.raises(UnsupportedImage, match="this is HEIC, which this deployment does not accept; send JPEG or PNG"):
        uploads.check(encoded(gradient(), "HEIC"))


def test_a_complete_image_is_not_decoded(settings: ImageSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    with DecodingPool(settings) as decoders:
        monkeypatch.setattr(decoders, "decode", lambda *_: pytest.fail("it was decoded"))
        UploadCheck(settings, decoders).check(_JPEG)
