"""What the Tab key offers for names that the service knows. A service that is slow or refuses offers nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx2
import typer

from maskq.cli.probe import Prober
from maskq.configuration import Configuration
from maskq.errors import MaskqError

_TIMEOUT_S = 1.0
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}", re.ASCII)
"""A name that no shell understands as anything else."""


def model_names(context: typer.Context, incomplete: str) -> list[str]:
    """Models that begin so."""
    return _names(context, "/models", incomplete, lambda body: body)


def job_ids(context: typer.Context, incomplete: str) -> list[str]:
    """Your newest jobs that begin so."""
    return _names(context, "/jobs?limit=20", incomplete, lambda body: body["jobs"])


def _names(context: typer.Context, path: str, incomplete: str, items: Callable[[Any], Any]) -> list[str]:
    options = context.find_root().params
    try:
        with Prober(Configuration.of(options.get("url"), options.get("api_key")), _TIMEOUT_S) as prober:
            names = [each["id"] for each in items(prober.send("GET", path).json)]
    except (MaskqError, httpx2.HTTPError, KeyError, TypeError):
        return []
    return [name for name in names if isinstance(name, str) and name.startswith(incomplete) and _SAFE.fullmatch(name)]
