import io

import numpy as np
import pytest
from PIL import Image

from api.overlay import draw_overlay
from shared.errors import ImageUnreadable
from shared.result import ImageSize, RleMask, SegmentationResult, SegmentedObject
from shared.rle import runs_to_counts
from tests.pictures import encoded


def _result(width: int, height: int, *objects: SegmentedObject) -> SegmentationResult:
    size = ImageSize(width=width, height=height)
    return SegmentationResult(image=size, objects=list(objects), skipped=[], truncated=False, raw_text="")


def _left_half(width: int, height: int) -> SegmentedObject:
    inside = width // 2 * height
    mask = RleMask(size=(height, width), counts=runs_to_counts([0, inside, width * height - inside]))
    return SegmentedObject(label="half", score=0.9, box=(0, 0, width // 2, height), area=inside, mask=mask)


@pytest.mark.parametrize(("width", "height"), [(400, 300), (1, 1), (3, 2000), (2400, 1600)])
def test_an_overlay_has_the_shape_of_the_image_and_a_bounded_size(width: int, height: int) -> None:
    result = _result(width, height, _left_half(width, height)) if width > 1 else _result(width, height)
    drawn = Image.open(io.BytesIO(draw_overlay(encoded(Image.new("RGB", (width, height))), result, 10**8)))
    assert drawn.format == "PNG"
    assert max(drawn.size) == min(1600, max(width, height))
    assert drawn.width / drawn.height == pytest.approx(width / height, rel=0.3)


def test_what_is_inside_is_coloured_and_what_is_outside_is_not() -> None:
    drawn = draw_overlay(encoded(Image.new("RGB", (400, 300))), _result(400, 300, _left_half(400, 300)), 10**8)
    pixels = np.asarray(Image.open(io.BytesIO(drawn)))
    assert (pixels[150, 20:180].max(-1) > 60).all()
    assert (pixels[:, 210:] == 0).all()


def test_objects_without_masks_get_their_box() -> None:
    found = SegmentedObject(label="box", score=0.5, box=(300, 100, 380, 180), area=0, mask=None)
    pixels = np.asarray(
        Image.open(io.BytesIO(draw_overlay(encoded(Image.new("RGB", (400, 300))), _result(400, 300, found), 10**8)))
    )
    assert pixels[179, 340].max() > 60
    assert pixels[150, 340].max() == 0


def test_a_damaged_image_is_an_error() -> None:
    whole = encoded(Image.effect_noise((200, 200), 90).convert("RGB"))
    damaged = whole[:2000] + bytes(500) + whole[2500:]
    with pytest.raises(ImageUnreadable):
        draw_overlay(damaged, _result(200, 200), 10**8)
