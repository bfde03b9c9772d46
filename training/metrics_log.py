"""The metrics of all stages and steps of a run, in the file ``metrics.jsonl``: one line of JSON for each step."""

import json
from collections import defaultdict
from pathlib import Path
from typing import TypeAlias

METRICS_FILE = "metrics.jsonl"

Curves: TypeAlias = dict[str, dict[str, dict[int, float]]]
"""stage -> metric -> step -> value."""


def append_metrics(file: Path, stage: str, step: int, metrics: dict[str, float]) -> None:
    """Append a line. A step that is repeated after an interruption is appended again; the last line counts."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"stage": stage, "step": step, **metrics}) + "\n")


def read_curves(file: Path) -> Curves:
    """Read every metric of every step. If a step was repeated, the last value counts."""
    curves: Curves = defaultdict(lambda: defaultdict(dict))
    for line in file.read_text("utf-8").splitlines():
        metrics = json.loads(line)
        stage, step = metrics.pop("stage"), metrics.pop("step")
        for name, value in metrics.items():
            curves[stage][name][step] = value
    return curves
