"""How well scores agree with results: of all objects with a score near p, a share of p should be right."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

_GROUPS = 10
_Floats = npt.NDArray[np.float64]


def expected_error(scores: _Floats, right: _Floats) -> float:
    """Expected calibration error, 0..1: the mean distance between score and share of right objects, over groups of
    equal size."""
    distances = [len(group) * abs(scores[group].mean() - right[group].mean()) for group in _groups(scores)]
    return float(sum(distances) / len(scores))


def draw_reliability(scores: Mapping[str, _Floats], right: _Floats, path: Path) -> None:
    """Write a PNG with one panel for each kind of score. A good score lies on the diagonal."""
    figure = Figure(figsize=(4.5 * len(scores), 4.5))
    panels = figure.subplots(1, len(scores), sharey=True, squeeze=False)
    for panel, (name, values) in zip(panels[0], scores.items(), strict=True):
        groups = list(_groups(values))
        means, shares = [values[each].mean() for each in groups], [right[each].mean() for each in groups]
        panel.plot([0, 1], [0, 1], color="0.7", linewidth=1)
        panel.plot(means, shares, "o-", color="#0072B2")
        panel.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel=f"{name}, mean of each tenth of the objects")
        panel.set_title(f"expected calibration error {expected_error(values, right):.3f}", fontsize=11)
    panels[0][0].set_ylabel("share of objects that are right")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def _groups(scores: _Floats) -> Iterator[npt.NDArray[np.int64]]:
    """Indices of the objects in groups of equal size, by score."""
    yield from (group for group in np.array_split(np.argsort(scores, kind="stable"), _GROUPS) if len(group))
