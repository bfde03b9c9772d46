"""How much memory a front end may come to take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.settings import Settings, all_settings, variable_of

_ITSELF = 150e6
_DECODER = 515e6
"""The worst image that is let in (docs/decisions/0015)."""
_DRAWING = 100e6


def front_end_bytes(environment: Mapping[str, Any]) -> float:
    """With these settings. Uploads are there twice, as they come and in parts; what a decoder decodes is drawn on."""
    variables = {variable_of(name, field): name for _, name, field in all_settings()}
    settings = Settings.of(**{variables[name]: value for name, value in environment.items() if name in variables})
    return (
        _ITSELF
        + 2 * settings.submissions.upload_memory_bytes
        + settings.images.decode_processes * (_DECODER + _DRAWING)
    )
