"""How documents are written as JSON."""

from __future__ import annotations

import json

ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
"""Without spaces, in UTF-8."""
