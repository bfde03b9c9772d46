"""Draws the objects of a result over their image, for people."""

from __future__ import annotations

import io

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter, ImageFont

from shared.images import open_upright
from shared.result import RleMask, SegmentationResult, SegmentedObject
from shared.rle import counts_to_runs, runs_to_bytes

_COLORS = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"]
"""Okabe and Ito, Color Universal Design (2008): seven that differ for the colour-blind too."""
_MAX_SIDE = 1_600
_FILL_OPACITY = 0.45


def draw_overlay(image: bytes, result: SegmentationResult, max_pixels: int) -> bytes:
    """The image with every mask filled, outlined and labelled, as a PNG with sides of at most 1600 pixels.

    Raises:
        ImageUnreadable: the image does not decode.
    """
    picture = open_upright(image, max_pixels)
    scale = min(1.0, _MAX_SIDE / max(picture.size))
    picture = picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    colors = [_COLORS[index % len(_COLORS)] for index in range(len(result.objects))]
    for found, color in zip(result.objects, colors, strict=True):
        _paint_mask(picture, found, color)
    for found, color in zip(result.objects, colors, strict=True):
        _write_label(picture, found, color, scale)
    png = io.BytesIO()
    picture.save(png, "PNG")
    return png.getvalue()


def mask_image(mask: RleMask) -> Image.Image:
    """Unpack a mask to an 8-bit grey image, 0 outside and 255 inside."""
    height, width = mask.size
    columns = Image.frombytes("L", (height, width), runs_to_bytes(counts_to_runs(mask.counts)))
    return columns.transpose(Image.Transpose.TRANSPOSE)


def _paint_mask(picture: Image.Image, found: SegmentedObject, color: str) -> None:
    if found.rle is None:
        return
    mask = mask_image(found.rle).resize(picture.size)
    line_width = 2 * (max(picture.size) // 400) + 3
    inside = mask.filter(ImageFilter.MinFilter(line_width))
    picture.paste(color, mask=mask.point(lambda value: round(value * _FILL_OPACITY)))
    picture.paste(color, mask=ImageChops.subtract(mask, inside))


def _write_label(picture: Image.Image, found: SegmentedObject, color: str, scale: float) -> None:
    draw = ImageDraw.Draw(picture)
    x0, y0, x1, y1 = (coordinate * scale for coordinate in found.box)
    draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=color)
    font = ImageFont.load_default(max(12, max(picture.size) // 50))
    text = f"{found.label} {found.score:.2f}"
    left, top, right, bottom = draw.textbbox((x0 + 3, y0 + 2), text, font=font)
    draw.rectangle((left - 3, top - 2, right + 3, bottom + 2), fill=color)
    luma = sum(weight * channel for weight, channel in zip((0.3, 0.6, 0.1), ImageColor.getrgb(color), strict=False))
    draw.text((x0 + 3, y0 + 2), text, font=font, fill="black" if luma > 110 else "white")
