"""The objects of a result, for people."""

from __future__ import annotations

from maskq.cli.output import print_table
from maskq.job_state import JobState
from maskq.segments import Segments

_HEADINGS = ("", "label", "score", "box (x0 y0 x1 y1)", "area (pixels)")


def print_objects(job: JobState) -> None:
    """Write a table of the objects that a job found. `job` must have a result."""
    rows = [
        (number, found.name, f"{found.score:.3f}", " ".join(map(str, found.box)), found.json.get("area"))
        for number, found in enumerate(Segments(job))
    ]
    print_table(_HEADINGS, rows, texts=[1])
