"""The cost of a mask in each format: one object that fills an image of 12 megapixels, with a wavy outline.

    python -m benchmarks.render [--save NAME]

`mask_ms` is the time from the soft mask to run lengths, which every format needs. Sizes are bytes of JSON, plain and
compressed by gzip.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.report import report
from shared.domain.job import MaskFormat
from worker.stages.pixel_mask import PixelMask
from worker.stages.render import write_mask
from worker.stages.run_lengths import resize

_WIDTH, _HEIGHT = 4000, 3000
_ROUNDS = 15


def main() -> None:
    """Measure, and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--save", help="save the results in benchmarks/results/NAME.json")
    options = parser.parse_args()
    soft = _wavy_disc()
    results: dict[str, Any] = {
        "mask_resized_as_a_whole_ms": _milliseconds(lambda: resize(soft, _WIDTH, _HEIGHT) > 0),
        "mask_ms": _milliseconds(lambda: _mask(soft).runs),
        "runs": len(_mask(soft).runs),
        **{str(name): _format_results(soft, name) for name in MaskFormat},
    }
    report("benchmarks.render", results, options.save)


def _wavy_disc() -> npt.NDArray[np.float32]:
    """float32[64, 64] in [-1, 1]: a disc with nine waves around it."""
    y, x = np.mgrid[0:64, 0:64] / 31.5 - 1
    edge = 0.75 + 0.12 * np.sin(9 * np.arctan2(y, x))
    return np.asarray(np.clip((edge - np.hypot(x, y)) * 6, -1, 1), np.float32)


def _mask(soft: npt.NDArray[np.float32]) -> PixelMask:
    return PixelMask(soft, (0, 0, _WIDTH, _HEIGHT), _WIDTH, _HEIGHT)


def _format_results(soft: npt.NDArray[np.float32], name: MaskFormat) -> dict[str, float]:
    written = write_mask(_mask(soft), name).model_dump_json().encode()
    return {
        "with_mask_ms": _milliseconds(lambda: write_mask(_mask(soft), name)),
        "bytes": len(written),
        "gzip_bytes": len(gzip.compress(written)),
    }


def _milliseconds(work: Callable[[], object]) -> float:
    """Median over all rounds."""
    work()  # warm caches
    times = []
    for _ in range(_ROUNDS):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(times)


if __name__ == "__main__":
    main()
