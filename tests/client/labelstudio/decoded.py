"""Regions of Label Studio as pixels, by other code than that which made them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it is written for an older pydantic
    from label_studio_sdk.converter.brush import decode_rle
    from label_studio_sdk.label_interface.interface import LabelInterface

Pixels = npt.NDArray[np.bool_]


def brush(region: dict[str, Any]) -> Pixels:
    """A brush region, by Label Studio's own decoder."""
    size = (region["original_height"], region["original_width"], 4)
    pixels: Pixels = np.asarray(decode_rle(region["value"]["rle"]), np.uint8).reshape(size)[:, :, 3] > 127
    return pixels


def polygon(region: dict[str, Any]) -> Pixels:
    """The pixels whose centres are inside a polygon, counted as crossings to their left."""
    height, width = region["original_height"], region["original_width"]
    points = np.array(region["value"]["points"]) * (width / 100, height / 100)
    inside = np.zeros((height, width), bool)
    xs, ys = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    xs, ys = xs + 1e-4, ys + 1.3e-4  # a corner may be at the centre of a pixel
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
        if y0 != y1:
            inside ^= ((y0 <= ys) != (y1 <= ys)) & (xs > x0 + (ys - y0) * (x1 - x0) / (y1 - y0))
    return inside


def rectangle(region: dict[str, Any]) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 in pixels, x1 and y1 exclusive."""
    across, down = region["original_width"] / 100, region["original_height"] / 100
    value = region["value"]
    x0, y0 = value["x"] * across, value["y"] * down
    return round(x0), round(y0), round(x0 + value["width"] * across), round(y0 + value["height"] * down)


def mistakes(label_config: str, prediction: dict[str, Any]) -> list[str]:
    """What Label Studio would refuse in a prediction, by its own validation. Run lengths are left out: this version of
    its package takes them for pairs of a value and a number, and refuses those of Label Studio itself."""
    regions = [{**each, "value": {**each["value"], "rle": [1, 1]}} for each in prediction["result"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(
            LabelInterface(label_config).validate_prediction({**prediction, "result": regions}, return_errors=True)
        )
