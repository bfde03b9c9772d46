"""What it saves to decode photos of 12 megapixels in reduced size, and what it changes in the results.

    python -m benchmarks.decode [--scenes 60] [--rounds 15] [--save NAME]

Held-out scenes are painted with 12 megapixels and saved as JPEG. Each is decoded in full and in reduced size: the time
is that of the child process with its pipe, as in a worker. The demo checkpoint answers about both, and masks are scored
in the pixels of the photo. `same_answers` is the share of photos about which it writes the very same tokens.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from PIL import Image

from benchmarks.report import report
from evaluation.datasets.scenes import scene_examples
from evaluation.engine_predictor import engine_predictor
from evaluation.example import Example, TrueObject, mask_to_rle
from evaluation.scoring import score
from scenes.layout import choose_layout
from scenes.painting import coverage, paint
from scenes.scene import HELD_OUT_SEEDS
from shared.domain.result import SegmentationResult
from shared.images.sandbox import DecodingPool
from shared.settings import Settings

_PIXELS = 12_000_000
_SIDES = (224, 448)


def photos(count: int) -> Iterator[Example]:
    """Held-out scenes, painted large."""
    for seed, example in zip(HELD_OUT_SEEDS, scene_examples(count), strict=False):
        layout = choose_layout(seed)
        scale = (_PIXELS / (layout.width * layout.height)) ** 0.5
        size = round(layout.width * scale), round(layout.height * scale)
        masks = {shape.box: mask_to_rle(coverage(shape.outlines, *size) >= 0.5) for shape in layout.shapes}
        truths = [TrueObject(each.label, each.box, masks[each.box]) for each in example.ground_truth]
        file = io.BytesIO()
        Image.fromarray(paint(layout, *size)).save(file, "JPEG", quality=90)
        yield replace(example, read_image=partial(bytes, file.getvalue()), ground_truth=truths)


def decode_ms(data: bytes, side: int, rounds: int, *, is_exact: bool) -> float:
    """Time to decode a photo and scale it to a square, in milliseconds: the least of all rounds, as other processes
    only make it longer."""
    times = []
    with DecodingPool(Settings.of(decode_processes=1, decode_exact=is_exact).images) as pool:
        pool.decode(data, (side, side))  # starts the child
        for _ in range(rounds):
            begin = time.perf_counter()
            pool.decode(data, (side, side))
            times.append(time.perf_counter() - begin)
    return 1e3 * min(times)


def answers(examples: Sequence[Example], *, is_exact: bool) -> list[SegmentationResult]:
    """What the demo checkpoint finds."""
    with engine_predictor(Settings.of(decode_exact=is_exact)) as (predictor, _):
        return [predictor(example) for example in examples]


def compare(examples: Sequence[Example]) -> dict[str, Any]:
    """The scores of both ways to decode."""
    exact, reduced = (answers(examples, is_exact=is_exact) for is_exact in (True, False))
    ious = [
        [
            found.iou
            for example, result in zip(examples, results, strict=True)
            for found in score(example, result).objects
        ]
        for results in (exact, reduced)
    ]
    moved = [abs(one - other) for one, other in zip(*ious, strict=True)]
    return {
        "photos": len(examples),
        "objects": len(ious[0]),
        "mean_iou_exact": statistics.mean(ious[0]),
        "mean_iou_reduced": statistics.mean(ious[1]),
        "mean_iou_change": statistics.mean(ious[1]) - statistics.mean(ious[0]),
        "largest_iou_change": max(moved),
        "objects_that_changed_by_0.01": sum(each > 0.01 for each in moved),
        "same_answers": statistics.mean(a.raw_text == b.raw_text for a, b in zip(exact, reduced, strict=True)),
    }


def main() -> None:
    """Measure, and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--save", help="keep the results in benchmarks/results/NAME.json")
    options = parser.parse_args()
    examples = list(photos(options.scenes))
    data = examples[0].read_image()
    times = {
        f"{name}_{side}_ms": decode_ms(data, side, options.rounds, is_exact=name == "exact")
        for side in _SIDES
        for name in ("exact", "reduced")
    }
    report("benchmarks.decode", {**times, **compare(examples)}, options.save)


if __name__ == "__main__":
    main()
