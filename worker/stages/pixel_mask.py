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
    def full(self) -> npt.NDArray[np.bool_]:
        """bool[height, width], expanded from the runs: ten times as fast as resizing the soft mask."""
        is_inside = np.arange(len(self.runs)) % 2 == 1
        return np.ascontiguousarray(np.repeat(is_inside, self.runs).reshape(self.width, self.height).T)

    @property
    def soft(self) -> npt.NDArray[np.float32]:
        """float32[64, 64] in [-1, 1]: the share of each cell of the box that is inside, from none to all."""
        x0, y0, x1, y1 = self.box
        inside = Image.fromarray(self.full[y0:y1, x0:x1]).convert("L")
        shares = np.asarray(inside.resize((MASK_SIDE, MASK_SIDE), Image.Resampling.BOX), np.float32)
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
    def full(self) -> npt.NDArray[np.bool_]:
        """As `RunMask.full`."""
        return self._hard.full


AnyMask = PixelMask | RunMask
