"""Draws the objects of a result over their image, for people: masks, outlines and captions."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image, ImageChops, ImageFilter

from api.drawing.captions import Caption, draw_caption, place_captions
from api.drawing.mask_image import mask_image
from api.drawing.palette import BoxXyxy, colors_of
from shared.domain.result import ImageSize, SegmentationResult, SegmentedObject
from shared.images.sandbox import DecodingPool

_MAX_SIDE = 1_600
_FILL_OPACITY = 0.35


@dataclass(frozen=True)
class _Shape:
    """The shape of an object in pixels of the picture. Only the window around its box is computed."""

    inside: Image.Image
    """8-bit grey: 0 outside, 255 inside, between them at the edge."""
    window: BoxXyxy
    is_mask: bool
    """False: the object has no mask, and the shape is its box."""


def draw_overlay(image: bytes, result: SegmentationResult, decoders: DecodingPool) -> bytes:
    """The image with every mask filled, outlined and labelled, as a PNG with sides of at most 1600 pixels.

    Raises:
        ImageUnreadable: the image does not decode.
    """
    size = _drawn_size(result.image)
    picture = decoders.decode(image, size).image
    line = max(2, round(max(size) / 400))
    boxes = [_scaled(found.box, result.image, size) for found in result.objects]
    colors = colors_of(boxes, margin=8 * line)
    for found, box, color in zip(result.objects, boxes, colors, strict=True):
        _paint(picture, _shape(found, box, result.image, size, 4 * line), color, line)
    captions = [
        Caption(f"{found.name} {found.score:.2f}", color, box)
        for found, box, color in zip(result.objects, boxes, colors, strict=True)
    ]
    for caption in place_captions(captions, size, line):
        draw_caption(picture, caption, line)
    png = io.BytesIO()
    picture.save(png, "PNG")
    return png.getvalue()


def _drawn_size(image: ImageSize) -> tuple[int, int]:
    scale = min(1.0, _MAX_SIDE / max(image.width, image.height))
    return max(1, round(image.width * scale)), max(1, round(image.height * scale))


def _scaled(box: BoxXyxy, image: ImageSize, size: tuple[int, int]) -> BoxXyxy:
    across, down = size[0] / image.width, size[1] / image.height
    x0, y0, x1, y1 = box
    return round(x0 * across), round(y0 * down), round(x1 * across), round(y1 * down)


def _shape(found: SegmentedObject, box: BoxXyxy, image: ImageSize, size: tuple[int, int], margin: int) -> _Shape:
    """The shape of an object, in a window with `margin` pixels around its box, clipped to the picture."""
    x0, y0, x1, y1 = box
    window = (max(0, x0 - margin), max(0, y0 - margin), min(size[0], x1 + margin), min(size[1], y1 + margin))
    shape = (max(1, window[2] - window[0]), max(1, window[3] - window[1]))
    if found.rle is not None:
        across, down = image.width / size[0], image.height / size[1]
        source = (window[0] * across, window[1] * down, window[2] * across, window[3] * down)
        return _Shape(mask_image(found.rle).resize(shape, Image.Resampling.BOX, box=source), window, is_mask=True)
    inside = Image.new("L", shape)
    inside.paste(255, (x0 - window[0], y0 - window[1], x1 - window[0], y1 - window[1]))
    return _Shape(inside, window, is_mask=False)


def _paint(picture: Image.Image, shape: _Shape, color: str, line: int) -> None:
    """Fill a mask, draw its edge in its colour, and around it a light and a dark line: visible on any background."""
    corner = shape.window[:2]
    light = _grown(shape.inside, line)
    dark = _grown(light, max(1, line // 2))
    core = _shrunk(shape.inside, line)
    if shape.is_mask:
        picture.paste(color, corner, shape.inside.point(lambda value: round(value * _FILL_OPACITY)))
    picture.paste("black", corner, ImageChops.subtract(dark, light))
    picture.paste("white", corner, ImageChops.subtract(light, shape.inside))
    picture.paste(color, corner, ImageChops.subtract(shape.inside, core))


def _grown(inside: Image.Image, pixels: int) -> Image.Image:
    return inside.filter(ImageFilter.MaxFilter(2 * pixels + 1))


def _shrunk(inside: Image.Image, pixels: int) -> Image.Image:
    return inside.filter(ImageFilter.MinFilter(2 * pixels + 1))
