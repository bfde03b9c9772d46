import numpy as np

from scenes.layout import ORDINARY
from scenes.scene import HELD_OUT_SEEDS
from scenes.shape_masks import random_masks
from worker.loading.checkpoint import Checkpoint


def test_held_out_masks_survive_the_sixteen_codes(demo: Checkpoint) -> None:
    truth = random_masks(HELD_OUT_SEEDS[0], 200, ORDINARY) > 0.5
    codes = demo.codec.encode(np.where(truth, 1, -1).astype(np.float32))
    assert codes.shape == (200, 16)
    assert len(np.unique(codes)) > 40
    decoded = demo.codec.decode(codes) > 0
    overlap = (decoded & truth).sum((1, 2)) / (decoded | truth).sum((1, 2))
    assert overlap.mean() >= 0.95
