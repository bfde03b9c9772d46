"""A mask in the pixels of the uploaded image. The pixels are computed only if a format needs them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.domain.paligemma import MASK_SIDE
from shared.domain.tiles import BoxXyxy
from worker.stages.lazy import lazy
from worker.stages.run_lengths import soft_mask_runs
from worker.stages.run_sets import area

_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RunMask:
    """A mask in an image of `width` x `height` pixels, as run lengths."""

    runs: _Ints
    """int64[N]: run lengths of the whole image, column by column: outside, inside, outside and so on."""
    box: BoxXyxy
    """x0, y0, x1, y1 in pixels, x1 and y1 exclusive, within the image. Everything outside it is outside the mask."""
    width: int
    height: int

    @property
    def area(self) -> int:
        """Number of pixels inside."""
        return area(self.runs)

    @lazy
    def inside(self) -> npt.NDArray[np.bool_]:
        """bool[y1 - y0, x1 - x0], the pixels of the box, expanded from the runs of its columns: ten times as fast as
        resizing the soft mask."""
        x0, y0, x1, y1 = self.box
        runs = self.runs.copy()
        runs[0] -= x0 * self.height  # outside the box all is outside
        runs[-1] -= (self.width - x1) * self.height
        is_inside = np.arange(len(runs)) % 2 == 1
        columns = np.repeat(is_inside, runs).reshape(x1 - x0, self.height)
        return np.ascontiguousarray(columns[:, y0:y1].T)

    @lazy
    def full(self) -> npt.NDArray[np.bool_]:
        """bool[height, width]."""
        x0, y0, x1, y1 = self.box
        full = np.zeros((self.height, self.width), np.bool_)
        full[y0:y1, x0:x1] = self.inside
        return full

    @property
    def soft(self) -> npt.NDArray[np.float32]:
        """float32[64, 64] in [-1, 1]: the share of each cell of the box that is inside, from none to all."""
        pixels = Image.fromarray(self.inside).convert("L")
        shares = np.asarray(pixels.resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BOX), np.float32)
        return shares / np.float32(127.5) - np.float32(1)


@dataclass(frozen=True, eq=False)
class PixelMask:
    """A soft mask that the model wrote, in an image of `width` x `height` pixels."""

    soft: npt.NDArray[np.float32]
    """float32[64, 64] in [-1, 1], to be resized to `box`. Values above 0 are inside."""
    box: BoxXyxy
    width: int
    height: int

    @lazy
    def _hard(self) -> RunMask:
        runs = soft_mask_runs(self.soft, self.box, self.width, self.height)
        return RunMask(runs, self.box, self.width, self.height)

    @property
    def runs(self) -> _Ints:
        """As `RunMask.runs`."""
        return self._hard.runs

    @property
    def area(self) -> int:
        """Number of pixels inside."""
        return self._hard.area

    @property
    def inside(self) -> npt.NDArray[np.bool_]:
        """As `RunMask.inside`."""
        return self._hard.inside

    @property
    def full(self) -> npt.NDArray[np.bool_]:
        """As `RunMask.full`."""
        return self._hard.full


AnyMask = PixelMask | RunMask
