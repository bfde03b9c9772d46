"""Draws the objects of a result over their image, for people: masks, outlines and captions."""

from __future__ import annotations

import io
from dataclasses import dataclass
from statistics import NormalDist

from PIL import Image, ImageChops, ImageFilter, ImageStat

from api.drawing.captions import Caption, draw_caption, place_captions
from api.drawing.mask_image import mask_image
from api.drawing.palette import BoxXyxy, Rgb, colors_of
from shared.domain.result import ImageSize, SegmentationResult, SegmentedObject
from shared.images.sandbox import DecodingPool

_MAX_SIDE = 1_600
_FILL_OPACITY = 0.35
_FILL = [round(value * _FILL_OPACITY) for value in range(256)]
_GREY: Rgb = (128.0, 128.0, 128.0)
_SOFT_EDGE = 0.8
"""Of masks, as the sigma of a blur in pixels: their pixels are inside or outside, and steps between them are ugly."""
_NORMAL = NormalDist()
_REACH = 1.5
"""Width of a line in sigmas of the blur that makes it. More, and 8 bits are too few to tell how far the edge is."""


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
    means = [
        _mean_color(picture, _shape(found, box, result.image, size, 0))
        for found, box in zip(result.objects, boxes, strict=True)
    ]
    colors = colors_of(boxes, means, margin=8 * line)
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
    """The shape of an object, in a window with `margin` pixels around its box, inside the picture and not empty."""
    x0, y0, x1, y1 = box
    left, top = min(max(0, x0 - margin), size[0] - 1), min(max(0, y0 - margin), size[1] - 1)
    window = (left, top, max(left + 1, min(size[0], x1 + margin)), max(top + 1, min(size[1], y1 + margin)))
    shape = (window[2] - left, window[3] - top)
    if found.rle is not None:
        across, down = image.width / size[0], image.height / size[1]
        source = (window[0] * across, window[1] * down, window[2] * across, window[3] * down)
        return _Shape(mask_image(found.rle).resize(shape, Image.Resampling.BOX, box=source), window, is_mask=True)
    inside = Image.new("L", shape)
    inside.paste(255, (x0 - window[0], y0 - window[1], x1 - window[0], y1 - window[1]))
    return _Shape(inside, window, is_mask=False)


def _mean_color(picture: Image.Image, shape: _Shape) -> Rgb:
    """The mean colour of the picture under a shape; grey if it covers nothing."""
    stat = ImageStat.Stat(picture.crop(shape.window), shape.inside)
    if not stat.count[0]:
        return _GREY
    red, green, blue = stat.mean
    return red, green, blue


def _paint(picture: Image.Image, shape: _Shape, color: str, line: int) -> None:
    """Fill a mask, draw its edge in its colour, and around it a light and a dark line: visible on any background."""
    corner = shape.window[:2]
    inside = ImageChops.lighter(shape.inside, shape.inside.filter(ImageFilter.GaussianBlur(_SOFT_EDGE)))
    core = _shrunk(shape.inside, line)
    if shape.is_mask:
        picture.paste(color, corner, inside.point(_FILL))
    picture.paste("black", corner, ImageChops.subtract(_grown(shape.inside, 1.5 * line), inside))
    picture.paste("white", corner, ImageChops.subtract(_grown(shape.inside, line), core))  # also below the colour
    picture.paste(color, corner, ImageChops.subtract(inside, core))


def _grown(inside: Image.Image, pixels: float) -> Image.Image:
    """The shape and all within `pixels` of it, with an edge that is one pixel wide: between 0 and 255, not jagged.

    A blurred edge tells the distance from it: at d it is the normal distribution of d / sigma. Memory and time do not
    grow with the width of lines, as they would if the shape were drawn at a multiple of its size.
    """
    sigma = pixels / _REACH
    outer, inner = (255 * _NORMAL.cdf(-(pixels + half) / sigma) for half in (0.5, -0.5))
    ramp = [round(255 * min(1.0, max(0.0, (value - outer) / (inner - outer)))) for value in range(256)]
    return inside.filter(ImageFilter.GaussianBlur(sigma)).point(ramp)


def _shrunk(inside: Image.Image, pixels: float) -> Image.Image:
    """The shape without all that lies within `pixels` of its edge."""
    return ImageChops.invert(_grown(ImageChops.invert(inside), pixels))
