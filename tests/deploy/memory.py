"""Upper bound of the memory of a front end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.settings import COPIES, Settings, all_settings, variable_of

_ITSELF = 150e6
_DECODER = 600e6
"""Bytes for the most expensive image that is accepted (docs/decisions/0040)."""
_DRAWING = 230e6
"""Bytes for an overlay or a mask of 65 million pixels while it is made."""


def front_end_bytes(environment: Mapping[str, Any]) -> float:
    """Upper bound in bytes for a front end with these settings.

    As in docs/capacity.md, without requests that only wait: they depend on the clients, and each takes little.
    """
    variables = {variable_of(name, field): name for _, name, field in all_settings()}
    settings = Settings.of(**{variables[name]: value for name, value in environment.items() if name in variables})
    return (
        _ITSELF
        + settings.submissions.upload_memory_bytes
        + settings.submissions.drawing_cache_bytes
        + settings.images.decode_processes * (_DECODER + 2 * _DRAWING + COPIES * settings.submissions.max_image_bytes)
    )
