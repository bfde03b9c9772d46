"""How much memory a front end may come to take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.settings import Settings

_ITSELF = 150e6
_DECODER = 515e6
"""The worst image that is let in (docs/decisions/0015)."""
_DRAWING = 100e6


def front_end_bytes(environment: Mapping[str, Any]) -> float:
    """With these settings. Uploads are there twice, as they come and in parts; what a decoder decodes is drawn on."""
    values = {name.lower(): value for name, value in environment.items() if name.lower() in Settings.model_fields}
    settings = Settings(**values)
    return _ITSELF + 2 * settings.upload_memory_bytes + settings.decode_processes * (_DECODER + _DRAWING)
