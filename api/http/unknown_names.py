"""Names that a request has and this service does not know: refused, with the name that was probably meant."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches

_MAX_CHARS = 40
"""Of an unknown name, as shown and compared."""
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_INDEX = re.compile(r"\[\d*\]?$")
_NESTED = re.compile(r".*[\[.]([^\[\].]+)\]?$")
"""`options[mask_format]`, `options.mask_format`."""
_TYPO = 0.7
"""Least similarity of a misspelt name, from 0 to 1."""
_FOREIGN_TYPO = 0.85
"""The same for names of other services: a name may contain one and mean another thing, as `max_objects`."""


def about_unknown(name: str, kind: str, known: Collection[str], foreign: Mapping[str, str]) -> str:
    """What to say about an unknown name: it, and the known one that is nearest.

    Args:
        kind: what the name is of: `field`, `query parameter`.
        known: the names that are known.
        foreign: known names, or a longer text, by the names that other services give them.
    """
    shown = name[:_MAX_CHARS].encode("ascii", "backslashreplace").decode()
    shown = "".join(each if each.isprintable() else "?" for each in shown)
    nearest = _nearest(name[:_MAX_CHARS], known, foreign)
    if nearest:
        return f"{shown}: unknown {kind}; did you mean {nearest}?"
    return f"{shown}: unknown {kind}; " + (f"known: {', '.join(known)}" if known else "this request has none")


def _nearest(name: str, known: Collection[str], foreign: Mapping[str, str]) -> str:
    """`maskFormats[]` -> `mask_format`; empty if no name is near."""
    plain = _CAMEL.sub("_", _INDEX.sub("", name)).lower().replace("-", "_").strip("_ ")
    if plain in known:
        return plain
    if plain in foreign:
        return foreign[plain]
    if nested := _NESTED.fullmatch(name):
        return _nearest(nested[1], known, foreign)
    near = get_close_matches(plain, known, n=1, cutoff=_TYPO)
    near = near or get_close_matches(plain, foreign, n=1, cutoff=_FOREIGN_TYPO)
    return foreign.get(near[0], near[0]) if near else ""
