"""`scripts/tokens`: masks survive encoding and decoding as well as models/demo/README.md says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from local.tokens import NotTokens, decode_text, encode_file
from scenes.scene import HELD_OUT_SEEDS, draw_scene
from testing.factories import written_answer
from worker.loading.checkpoint import Checkpoint
from worker.stages.encode_mask import encode_mask

pytestmark = pytest.mark.slow

_MIN_MEAN_IOU = 0.95
"""Of box and codes together, in the pixels of the scene."""


def test_masks_of_held_out_scenes_survive_encoding_and_decoding(demo: Checkpoint) -> None:
    truths = [item.mask for seed in HELD_OUT_SEEDS[6_000:6_060] for item in draw_scene(seed).objects]
    overlaps = []
    for truth in truths:
        height, width = truth.shape
        drawn = decode_text(demo.codec, f"{encode_mask(demo.codec, truth)} thing", width, height)
        overlaps.append((drawn & truth).sum() / (drawn | truth).sum())
    assert len(overlaps) > 100
    assert np.mean(overlaps) >= _MIN_MEAN_IOU


def test_several_objects_become_one_mask(demo: Checkpoint) -> None:
    scene = next(scene for scene in map(draw_scene, HELD_OUT_SEEDS[:50]) if len(scene.objects) == 3)
    tokens = [(encode_mask(demo.codec, item.mask), item.kind) for item in scene.objects]
    text = written_answer((each.box_yxyx, each.codes, label) for each, label in tokens)
    height, width = scene.image.shape[:2]
    drawn = decode_text(demo.codec, text, width, height)
    truth = np.logical_or.reduce([item.mask for item in scene.objects])
    assert (drawn & truth).sum() / (drawn | truth).sum() > 0.9


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no segmentation tokens"),
        ("a cat", "stray_text"),
        ("<loc0000><loc0000><loc0100><loc0100>", "no segmentation tokens"),
        ("<loc0500><loc0000><loc0100><loc0100>" + "<seg000>" * 16, "empty_box"),
        ("<loc0000><loc0000><loc0100><loc0100>" + "<seg128>" * 16, "out_of_range"),
    ],
)
def test_text_without_a_mask_is_refused_with_the_reason(demo: Checkpoint, text: str, reason: str) -> None:
    with pytest.raises(NotTokens, match=reason):
        decode_text(demo.codec, text, 64, 64)


def test_a_file_without_a_mask_is_refused_with_the_reason(demo: Checkpoint, tmp_path: Path) -> None:
    black, text = tmp_path / "black.png", tmp_path / "text.png"
    Image.new("L", (8, 8)).save(black)
    text.write_text("not an image")
    with pytest.raises(NotTokens, match="empty mask"):
        encode_file(demo.codec, black)
    with pytest.raises(NotTokens, match="not an image"):
        encode_file(demo.codec, text)


def _cross() -> npt.NDArray[np.uint8]:
    """Two objects, 1 and 7, and a border of 255 between them."""
    numbers = np.zeros((60, 100), np.uint8)
    numbers[10:50, 20:50] = 1
    numbers[10:50, 50:53] = 255
    numbers[15:45, 53:90] = 7
    return numbers


def _palette_image(numbers: npt.NDArray[np.uint8]) -> Image.Image:
    """As Pascal VOC: the colours of the numbers say nothing about inside and outside."""
    image = Image.fromarray(numbers, "P")
    image.putpalette([0, 0, 0, 128, 0, 0] + [64, 128, 0] * 253 + [224, 224, 192])
    return image


@pytest.mark.parametrize("kind", ["palette", "grey", "16 bits"])
def test_each_number_of_a_mask_is_an_object_and_the_border_is_none(demo: Checkpoint, tmp_path: Path, kind: str) -> None:
    numbers, path = _cross(), tmp_path / "mask.png"
    images = {
        "palette": _palette_image(numbers),
        "grey": Image.fromarray(numbers),
        "16 bits": Image.fromarray(np.where(numbers == 7, 300, numbers.astype(np.uint16))),
    }
    images[kind].save(path)
    expected = [str(encode_mask(demo.codec, numbers == number)) for number in (1, 7)]
    assert encode_file(demo.codec, path).splitlines() == expected
    assert encode_file(demo.codec, path, 1) == expected[0]
    with pytest.raises(NotTokens, match=r"has no mask 255; it has 1, (7|300)"):
        encode_file(demo.codec, path, 255)


@pytest.mark.parametrize("inside", [1, 38, 255])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_a_mask_of_two_values_is_one_object(demo: Checkpoint, tmp_path: Path, inside: int, mode: str) -> None:
    mask, path = _cross() == 1, tmp_path / "mask.png"
    grey = Image.fromarray((mask * inside).astype(np.uint8))
    image = Image.fromarray(mask) if mode == "1" else grey if mode == "I;16" else grey.convert(mode)
    if mode == "I;16":
        image = Image.fromarray((mask * (65_535 if inside == 255 else inside)).astype(np.uint16))
    image.save(path)
    assert encode_file(demo.codec, path) == str(encode_mask(demo.codec, mask))


def test_a_soft_mask_is_cut_in_the_middle(demo: Checkpoint, tmp_path: Path) -> None:
    soft, path = np.tile(np.arange(256, dtype=np.uint8), (60, 1)), tmp_path / "mask.png"
    Image.fromarray(soft).save(path)
    assert encode_file(demo.codec, path) == str(encode_mask(demo.codec, soft > 127))


def test_a_palette_of_two_greys_may_be_in_any_order(demo: Checkpoint, tmp_path: Path) -> None:
    mask, path = _cross() == 1, tmp_path / "mask.png"
    image = Image.fromarray((~mask).astype(np.uint8), "P")
    image.putpalette([255, 255, 255, 0, 0, 0])
    image.save(path)
    assert encode_file(demo.codec, path) == str(encode_mask(demo.codec, mask))


def test_the_command_encodes_and_decodes(root: Path, tmp_path: Path) -> None:
    mask = np.zeros((60, 100), np.bool_)
    mask[10:50, 20:70] = True
    Image.fromarray(mask).save(tmp_path / "mask.png")

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "local.tokens", "--vae", "models/demo/vae.npz", *arguments]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=120).stdout.strip()

    tokens = run("encode", str(tmp_path / "mask.png"))
    assert tokens.startswith("<loc0170><loc0205><loc0852><loc0716><seg")
    assert tokens.count("<seg") == 16
    run("decode", tokens, "--size", "100x60", str(tmp_path / "out.png"))
    drawn = np.asarray(Image.open(tmp_path / "out.png"))
    assert drawn.shape == mask.shape
    assert (drawn & mask).sum() / (drawn | mask).sum() > 0.9
