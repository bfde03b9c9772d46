"""Upper bound of the memory of a front end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.settings import Settings, all_settings, variable_of

_ITSELF = 150e6
_DECODER = 515e6
"""Bytes for the most expensive image that is accepted (docs/decisions/0015)."""
_DRAWING = 100e6


def front_end_bytes(environment: Mapping[str, Any]) -> float:
    """Upper bound in bytes for a front end with these settings.

    An upload is in memory twice: as received, and split into its parts. A decoded image is copied to draw on it.
    """
    variables = {variable_of(name, field): name for _, name, field in all_settings()}
    settings = Settings.of(**{variables[name]: value for name, value in environment.items() if name in variables})
    return (
        _ITSELF
        + 2 * settings.submissions.upload_memory_bytes
        + settings.http.answer_memory_bytes
        + settings.images.decode_processes * (_DECODER + _DRAWING)
    )
