"""A request with several images as several submissions, one for each image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from shared.errors import InvalidField

Fields: TypeAlias = Mapping[str, object]
_IMAGES = ("image_file", "image_url")


def one_by_one(fields: Fields, max_images: int) -> list[Fields]:
    """The fields of each submission: one image, and all other fields. Files come before URLs.

    Raises:
        InvalidField: there is no image, or there are more than `max_images`.
    """
    images = [(name, image) for name in _IMAGES for image in _list(fields.get(name))]
    if not images:
        raise InvalidField("image_file or image_url: send at least one image")
    if len(images) > max_images:
        raise InvalidField(f"the request has {len(images):,} images; at most {max_images:,} are allowed")
    others = {name: value for name, value in fields.items() if name not in _IMAGES}
    return [{**others, name: image} for name, image in images]


def _list(value: object) -> list[object]:
    if value is None or value == "":
        return []
    return value if isinstance(value, list) else [value]
