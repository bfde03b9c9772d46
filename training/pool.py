"""A pool of scenes on disk: drawn once at the model's image size, and used many times with small changes."""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from scenes.layout import MAX_OBJECTS, Layout, SceneForm, Shape, choose_layout
from scenes.painting import coverage, paint
from scenes.phrases import NO_OBJECT
from scenes.scene import TRAINING_SEEDS
from scenes.shape_masks import MASK_SIZE, crop_mask
from scenes.vocabulary import Vocabulary
from shared.domain.paligemma import MASK_TOKENS
from training.model import GRID, IMAGE_SIZE
from training.vqvae import MaskVqVae, as_input

CHUNK = 4_000
"""Scenes in one file."""
MIN_SHARE = 0.12
"""A patch belongs to the object that covers most of it, if that is more than this share of the patch."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """N scenes as arrays, with at most 5 objects each. The two views are the scene as drawn and mirrored."""

    images: list[npt.NDArray[np.uint8]]
    """One memory-mapped uint8[4000, 224, 224, 3] RGB for each chunk (fewer if the pool is smaller), as drawn."""
    kinds: npt.NDArray[np.int8]
    """int8[N, 5]: index into the kinds of the vocabulary, -1 where there is no object."""
    colors: npt.NDArray[np.int8]
    """int8[N, 5]: index into its colours; -1 also where an object has no colour name."""
    boxes: npt.NDArray[np.float32]
    """float32[N, 2 views, 5, 4]: y0, x0, y1, x1 in 0..1."""
    owners: npt.NDArray[np.int8]
    """int8[N, 2 views, 64 patches]: index of the object that a patch belongs to, -1 for background."""
    codes: npt.NDArray[np.int8]
    """int8[N, 2 views, 5, 16]: mask codes, 0..127."""
    vocabulary: Vocabulary

    def __len__(self) -> int:
        return len(self.kinds)

    def pixels(self, scenes: Ints, mirrored: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
        """uint8[B, 224, 224, 3] of these scenes, mirrored left to right where ``mirrored`` is true."""
        chunk = len(self.images[0])
        images = [self.images[scene // chunk][scene % chunk] for scene in scenes]
        return np.stack([image[:, ::-1] if mirror else image for image, mirror in zip(images, mirrored, strict=True)])


_FIELDS = ("kinds", "colors", "boxes", "owners", "codes")


def build_pool(
    folder: Path, vqvae: MaskVqVae, form: SceneForm, scenes: int, first_seed: int = TRAINING_SEEDS.start
) -> Pool:
    """Open the pool of ``scenes`` scenes in ``folder``. Missing chunks are drawn first, on all cores."""
    folder.mkdir(parents=True, exist_ok=True)
    starts = [first_seed + start for start in range(0, scenes, CHUNK)]
    chunk = min(CHUNK, scenes)
    missing = [start for start in starts if not (folder / f"{start}.npz").exists()]
    if len(missing) > 1:
        # Not forked: the parent may have threads of torch.
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as workers:
            list(workers.map(partial(_draw_chunk, form=form, folder=folder, scenes=chunk), missing))
    elif missing:
        _draw_chunk(missing[0], form, folder, chunk)
    for start in starts:
        _add_codes(folder / f"{start}.npz", vqvae)
    return _open_pool(folder, starts, form.vocabulary)


def _open_pool(folder: Path, starts: list[int], vocabulary: Vocabulary) -> Pool:
    """Open the chunks that start at these seeds."""
    images = [np.load(folder / f"{start}.images.npy", mmap_mode="r") for start in starts]
    chunks = [np.load(folder / f"{start}.npz") for start in starts]
    fields = {field: np.concatenate([chunk[field] for chunk in chunks]) for field in _FIELDS}
    return Pool(images, **fields, vocabulary=vocabulary)


def _draw_chunk(start: int, form: SceneForm, folder: Path, scenes: int) -> None:
    cv2.setNumThreads(1)
    layouts = [choose_layout(seed, form) for seed in range(start, start + scenes)]
    images = np.stack([paint(layout, IMAGE_SIZE, IMAGE_SIZE) for layout in layouts])
    np.save(folder / f"{start}.images.npy", images)
    labels = [_labels(layout, form.vocabulary) for layout in layouts]
    _save(folder / f"{start}.npz", {name: np.stack([label[name] for label in labels]) for name in labels[0]})


def _save(file: Path, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    """Write ``file`` atomically."""
    unfinished = file.with_suffix(".part.npz")
    np.savez(unfinished, allow_pickle=False, **arrays)
    unfinished.replace(file)


def _labels(layout: Layout, vocabulary: Vocabulary) -> dict[str, npt.NDArray[np.generic]]:
    """All arrays of one scene except the pixels, padded to five objects; masks instead of codes."""
    kinds = np.full(MAX_OBJECTS, NO_OBJECT, dtype=np.int8)
    colors, boxes = kinds.copy(), np.zeros((2, MAX_OBJECTS, 4), dtype=np.float32)
    masks = np.zeros((2, MAX_OBJECTS, MASK_SIZE, MASK_SIZE), dtype=np.uint8)
    for index, shape in enumerate(layout.shapes):
        kinds[index], colors[index] = vocabulary.indices(shape.color, shape.kind)
        y0, x0, y1, x1 = shape.box
        boxes[:, index] = (y0, x0, y1, x1), (y0, 1 - x1, y1, 1 - x0)
        mask = np.round(crop_mask(shape.outlines) * 255).astype(np.uint8)
        masks[:, index] = mask, mask[:, ::-1]
    owners = _owners(layout.shapes)
    mirrored = owners.reshape(GRID, GRID)[:, ::-1].reshape(-1)
    return {
        "kinds": kinds,
        "colors": colors,
        "boxes": boxes,
        "owners": np.stack([owners, mirrored]),
        "masks": masks,
    }


def _owners(shapes: tuple[Shape, ...]) -> npt.NDArray[np.int8]:
    """int8[64]: index of the object that covers most of each patch."""
    owners = np.full(GRID * GRID, NO_OBJECT, dtype=np.int8)
    best = np.full(GRID * GRID, MIN_SHARE, dtype=np.float32)
    for index, shape in enumerate(shapes):
        fine = coverage(shape.outlines, GRID * 4, GRID * 4)
        share = fine.reshape(GRID, 4, GRID, 4).mean(axis=(1, 3)).reshape(-1)
        owners[share > best] = index
        best = np.maximum(best, share)
    return owners


def _add_codes(file: Path, vqvae: MaskVqVae) -> None:
    """Replace the masks of a new chunk by their codes."""
    with np.load(file) as arrays:
        if "codes" in arrays:
            return
        labels = {name: arrays[name] for name in arrays.files}
    masks = labels.pop("masks")
    flat = masks.reshape(-1, MASK_SIZE, MASK_SIZE)
    codes = np.zeros((len(flat), MASK_TOKENS), dtype=np.int8)
    used = np.flatnonzero(flat.any(axis=(1, 2)))
    with torch.no_grad():
        for part in np.array_split(used, max(1, len(used) // 512)):
            codes[part] = vqvae.encode(as_input(flat[part].astype(np.float32) / 255)).numpy()
    _save(file, labels | {"codes": codes.reshape(*masks.shape[:3], MASK_TOKENS)})
