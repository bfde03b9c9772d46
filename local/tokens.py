"""Turns masks into tokens and back: to make fine-tuning data, and to see what a model wrote.

scripts/tokens encode mask.png
scripts/tokens decode "<loc0012>...<seg127> cat" --size 640x480 mask.png
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from local.mask_file import read_masks
from shared.domain.job import MaskFormat
from shared.domain.paligemma import MASK_TOKENS
from shared.domain.result import PngMask
from shared.process import entry_point
from shared.process.environment import load_settings
from worker.loading.vae_file import find_vae
from worker.stages.encode_mask import encode_mask
from worker.stages.mask_vqvae import MaskCodec, keep_jax_on_cpu, load_vae
from worker.stages.parse import Detection, parse_answer
from worker.stages.place import place
from worker.stages.render import render_object

_MAX_PIXELS = 100_000_000


class NotTokens(Exception):
    """The input cannot be converted to masks or tokens. The message says why."""


def encode_file(codec: MaskCodec, path: Path, number: int | None = None) -> str:
    """The tokens of the masks in an image file, one line for each, as `read_masks` finds them; of one of them, if its
    number is given.

    Raises:
        NotTokens: the file is not an image, or has no such mask, or no pixel is inside.
    """
    try:
        with Image.open(path) as image:
            masks = read_masks(image)
        if number is not None:
            masks = {number: masks[number]}
        return "\n".join(str(encode_mask(codec, mask)) for mask in masks.values() or [np.zeros((1, 1), np.bool_)])
    except KeyError:
        raise NotTokens(f"{path} has no mask {number}; it has {', '.join(map(str, masks)) or 'none'}") from None
    except UnidentifiedImageError:
        raise NotTokens(f"{path} is not an image") from None
    except (OSError, ValueError) as error:
        raise NotTokens(f"{path}: {error}") from None


def decode_text(codec: MaskCodec, text: str, width: int, height: int) -> npt.NDArray[np.bool_]:
    """bool[height, width]: the union of the masks of all objects in an answer.

    Raises:
        NotTokens: the answer has no mask.
    """
    answer = parse_answer(text, [])
    objects = [found for found in answer.detections if found.codes]
    if not objects:
        reason = answer.skipped[0].reason if answer.skipped else "no segmentation tokens"
        raise NotTokens(f"no mask in these tokens: {reason}")
    softs = codec.decode(np.array([found.codes for found in objects], np.int32).reshape(-1, MASK_TOKENS))
    masks = [_render(found, soft, width, height) for found, soft in zip(objects, softs, strict=True)]
    union: npt.NDArray[np.bool_] = np.logical_or.reduce(masks)
    return union


def _render(found: Detection, soft: npt.NDArray[np.float32], width: int, height: int) -> npt.NDArray[np.bool_]:
    mask = render_object(place(found, soft, (width, height)), [MaskFormat.PNG]).mask
    if not isinstance(mask, PngMask):
        raise TypeError(f"expected a PNG, got {type(mask)}")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(mask.data))))


def _size(text: str) -> tuple[int, int]:
    width, height = (int(side) for side in text.lower().split("x"))
    if not (width > 0 and height > 0 and width * height <= _MAX_PIXELS):
        raise ValueError
    return width, height


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/tokens", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--vae", type=Path, help="a file in the layout of vae-oid.npz (default: the official file, fetched once)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    encode = commands.add_parser("encode", help="from an image of a mask to tokens")
    encode.add_argument(
        "mask",
        type=Path,
        help="image file: light pixels are inside, or each number but 0 and 255 is an object (0/1 masks, Pascal VOC)",
    )
    encode.add_argument("--number", type=int, help="encode only the object with this number (default: all, in order)")
    decode = commands.add_parser("decode", help="from tokens to an image of a mask")
    decode.add_argument("text", help="an answer of the model; labels are ignored")
    decode.add_argument(
        "--size", type=_size, required=True, metavar="WIDTHxHEIGHT", help="size of the image, in pixels"
    )
    decode.add_argument("out", type=Path, help="PNG file to write")
    return parser.parse_args()


def main() -> int:
    """Encode or decode. Returns an exit status.

    Raises:
        ConfigurationError: the settings are wrong, or there is no usable VQ-VAE.
    """
    options = _arguments()
    keep_jax_on_cpu()
    try:
        codec = load_vae(options.vae or find_vae([], load_settings().checkpoint.cache_dir))
        if options.command == "encode":
            print(encode_file(codec, options.mask, options.number))
        else:
            Image.fromarray(decode_text(codec, options.text, *options.size)).save(options.out, "PNG")
    except NotTokens as error:
        print(f"maskq: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    entry_point.run(main)
