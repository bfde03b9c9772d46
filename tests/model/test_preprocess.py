import numpy as np
import pytest
import torch
from PIL import Image

from shared.errors import PromptTooLong
from shared.images.decode import decode
from testing.pictures import encoded, gradient
from worker.engine.pixel_values import to_pixel_values
from worker.loading.checkpoint import Checkpoint
from worker.stages.preprocess import Preprocessor


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _grey16() -> Image.Image:
    return Image.fromarray((np.arange(100 * 80).reshape(80, 100) * 8).astype(np.uint16))


_FILES = {
    "rgb": encoded(gradient(301, 199)),
    "jpeg": encoded(gradient(301, 199), "JPEG"),
    "palette": encoded(gradient(100, 80, "P")),
    "alpha": encoded(gradient(100, 80, "RGBA")),
    "16 bit": encoded(_grey16()),
    "cmyk": encoded(gradient(100, 80, "CMYK"), "JPEG"),
    "rotated": encoded(gradient(100, 80), "JPEG", exif=_exif(6)),
    "one pixel": encoded(gradient(1, 1)),
    "square": encoded(gradient(224, 224)),
    "wide": encoded(gradient(1000, 10)),
}


@pytest.mark.parametrize("name", _FILES)
@pytest.mark.parametrize("prompt", ["segment red circle", "segment circle ; blue square", "segment Straße 猫"])
def test_inputs_equal_those_of_the_checkpoint_s_own_processor(demo: Checkpoint, name: str, prompt: str) -> None:
    picture = decode(_FILES[name], 25_000_000).image
    prepared = Preprocessor(demo.processor, max_prompt_tokens=512).prepare(picture, prompt)
    expected = demo.processor(images=picture, text=f"<image>{prompt}", return_tensors="np")
    values = to_pixel_values(torch.from_numpy(np.stack([prepared.pixels]))).numpy()
    assert values.dtype == np.float32
    assert np.abs(values - expected["pixel_values"]).max() <= 1e-5
    assert prepared.token_ids == expected["input_ids"][0].tolist()


def test_a_prompt_with_too_many_tokens_is_refused(demo: Checkpoint) -> None:
    preprocessor = Preprocessor(demo.processor, max_prompt_tokens=16)
    preprocessor.prepare(gradient(10, 10), "segment cat")
    with pytest.raises(PromptTooLong):
        preprocessor.prepare(gradient(10, 10), "segment " + "猫" * 16)


def test_the_digest_depends_on_the_image_only(demo: Checkpoint) -> None:
    preprocessor = Preprocessor(demo.processor, max_prompt_tokens=512)
    first = preprocessor.prepare(gradient(100, 80), "segment cat")
    assert preprocessor.prepare(gradient(100, 80), "segment dog").image_digest == first.image_digest
    assert preprocessor.prepare(gradient(80, 100), "segment cat").image_digest != first.image_digest


def test_values_are_to_the_bit_those_of_float32_arithmetic() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    values = to_pixel_values(torch.from_numpy(pixels)).numpy()
    expected = pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)
    assert np.array_equal(values, expected.transpose(0, 3, 1, 2))
