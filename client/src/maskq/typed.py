"""Names of types that Python 3.10 does not have, and of JSON."""

from __future__ import annotations

import sys
from typing import Any

if sys.version_info >= (3, 11):
    from typing import Self, Unpack
else:
    from typing_extensions import Self, Unpack

__all__ = ["Json", "Self", "Unpack"]

Json = dict[str, Any]
"""A JSON object."""
