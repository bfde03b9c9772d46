"""Learning curves: the metrics of a run, from `metrics.jsonl`, as one image.

python -m training.curves WORK/metrics.jsonl curves.png
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from training.metrics_log import Curves, read_curves

_SMOOTHING = 0.95
_ORDER = ("vqvae", "vision", "language", "joint", "validation")
_MEASURED = ("validation", "box error")
_BOX_ERROR = "box_error_median"


def draw_curves(curves: Curves, path: Path) -> None:
    """Write a PNG with one panel for each stage: its losses or, for the validation, metrics on held-out scenes."""
    panels = _panels(curves)
    figure = Figure(figsize=(5 * len(panels), 3.6), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for number, (title, metrics) in enumerate(panels.items(), 1):
        _draw_panel(figure.add_subplot(1, len(panels), number), title, metrics)
    canvas.print_png(path)


def _panels(curves: Curves) -> Curves:
    """The metrics of each panel, by title. The box error has its own panel: its values are far smaller."""
    panels = {stage: dict(curves[stage]) for stage in sorted(curves, key=_ORDER.index)}
    if _BOX_ERROR in panels.get("validation", {}):
        panels["box error"] = {_BOX_ERROR: panels["validation"].pop(_BOX_ERROR)}
    return panels


def _draw_panel(axes: Axes, title: str, metrics: Mapping[str, Mapping[int, float]]) -> None:
    is_measured = title in _MEASURED
    for name, values in metrics.items():
        steps = sorted(values)
        points = [values[step] for step in steps]
        axes.plot(steps, points if is_measured else _smoothed(points), label=name, linewidth=1)
    axes.set_title(title)
    axes.set_xlabel("step")
    if not is_measured:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="x-small")


def _smoothed(values: list[float]) -> list[float]:
    smooth, points = values[0], []
    for value in values:
        smooth = _SMOOTHING * smooth + (1 - _SMOOTHING) * value
        points.append(smooth)
    return points


def main() -> None:
    """Draw a file of metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("metrics", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    draw_curves(read_curves(options.metrics), options.out)


if __name__ == "__main__":
    main()
