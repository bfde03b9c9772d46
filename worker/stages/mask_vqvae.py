"""The mask VQ-VAE: 16 codes to a soft mask of 64 x 64, and back.

The network of google-research/big_vision (`proj/paligemma`, "Reconstruct masks"), in Flax. It reads the arrays of
`vae-oid.npz`: float32 in PyTorch's layout, one `.weight` and one `.bias` per layer, named by their place in the
network.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from flax import linen as nn

from shared.domain.paligemma import CODEBOOK_SIZE, MASK_SIDE, MASK_TOKENS
from shared.errors import CheckpointError

CODE_WIDTH = 512
_GRID = 4
MAX_BUCKET = 8
"""Largest batch that is compiled. More masks are decoded in several batches, which take no longer."""

Params = Mapping[str, Any]


class _Decoder(nn.Module):
    """float32[B, 4, 4, 512] -> float32[B, 64, 64, 1], about -1 outside and 1 inside."""

    @nn.compact
    def __call__(self, quantized: jax.Array) -> jax.Array:
        x = nn.relu(nn.Conv(128, (1, 1), name="decoder_0")(quantized))
        x = _residual(x, "decoder_2")
        x = _residual(x, "decoder_3")
        for layer, features in ((4, 128), (6, 64), (8, 32), (10, 16)):
            x = nn.relu(_Doubling(features, name=f"decoder_{layer}")(x))
        return nn.Conv(1, (1, 1), name="decoder_12")(x)


class _Doubling(nn.Module):
    """float32[B, H, W, C] -> float32[B, 2H, 2W, features]: the transposed convolution of 4 x 4, stride 2 and padding 1.

    Each cell becomes 2 x 2 pixels, and each of these is a convolution of 2 x 2. On a CPU the whole decoder takes 0.9 ms
    for a mask this way, in batches of any size, and 1.25 to 2.4 ms with `nn.ConvTranspose`.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (4, 4, self.features, channels))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        rows = [jnp.stack([_one_of_four(x, kernel, row, column) for column in (0, 1)], 3) for row in (0, 1)]
        return jnp.stack(rows, 2).reshape(batch, 2 * height, 2 * width, self.features) + bias


def _one_of_four(x: jax.Array, kernel: jax.Array, row: int, column: int) -> jax.Array:
    """The pixel of each cell in this row and column, 0 or 1. The first is made of the cell before and its own, with the
    kernel's rows 3 and 1; the second of its own and the next, with 2 and 0."""
    return jax.lax.conv_general_dilated(
        x,
        kernel[3 - row :: -2, 3 - column :: -2],
        window_strides=(1, 1),
        padding=((1 - row, row), (1 - column, column)),
        dimension_numbers=("NHWC", "HWOI", "NHWC"),
    )


class _Encoder(nn.Module):
    """float32[B, 64, 64, 1] in [-1, 1] -> float32[B, 4, 4, 512], not yet quantized."""

    @nn.compact
    def __call__(self, masks: jax.Array) -> jax.Array:
        x = masks
        for layer, features in ((0, 16), (2, 32), (4, 64), (6, 128)):
            x = nn.relu(nn.Conv(features, (4, 4), strides=(2, 2), padding=1, name=f"encoder_{layer}")(x))
        x = _residual(x, "encoder_8")
        x = _residual(x, "encoder_9")
        return nn.Conv(CODE_WIDTH, (1, 1), name="encoder_10")(x)


def _residual(x: jax.Array, name: str) -> jax.Array:
    y = nn.relu(nn.Conv(128, (3, 3), padding=1, name=f"{name}_net_0")(x))
    y = nn.relu(nn.Conv(128, (3, 3), padding=1, name=f"{name}_net_2")(y))
    return x + nn.Conv(128, (1, 1), name=f"{name}_net_4")(y)


def keep_jax_on_cpu() -> None:
    """Keep JAX off the GPUs in this process, unless `JAX_PLATFORMS` is set.

    Entry points call it before JAX computes anything. JAX takes most of a GPU's memory as soon as it finds one, and
    81 MFLOP per mask are not worth that beside the model.
    """
    if not os.environ.get("JAX_PLATFORMS"):
        jax.config.update("jax_platforms", "cpu")


class MaskCodec:
    """Decodes and encodes masks. Compiled once for each batch size that is a power of two. Safe to share between
    threads."""

    def __init__(self, params: Params, codebook: npt.NDArray[np.float32]) -> None:
        """`params` are those that `load_vae` reads; `codebook` is float32[128, 512]."""
        self._params = params
        self._codebook = jnp.asarray(codebook)
        self._decode = jax.jit(self._decode_bucket)
        self._encode = jax.jit(self._encode_bucket)

    def decode(self, codes: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """int32[N, 16] in 0..127 -> float32[N, 64, 64] in [-1, 1]; above 0 is inside."""
        masks = [np.asarray(self._decode(bucket))[:size] for bucket, size in _buckets(codes)]
        return np.concatenate(masks) if masks else np.zeros((0, MASK_SIDE, MASK_SIDE), np.float32)

    def encode(self, masks: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """float32[N, 64, 64] in [-1, 1] -> int32[N, 16] in 0..127: the codes whose mask is the nearest."""
        codes = [np.asarray(self._encode(bucket))[:size] for bucket, size in _buckets(masks)]
        return np.concatenate(codes) if codes else np.zeros((0, MASK_TOKENS), np.int32)

    def warm_up(self) -> None:
        """Compile the decoder for every batch size, so that no job waits for a compilation."""
        size = 1
        while size <= MAX_BUCKET:
            self.decode(np.zeros((size, MASK_TOKENS), np.int32))
            size *= 2

    def _decode_bucket(self, codes: jax.Array) -> jax.Array:
        quantized = self._codebook[codes].reshape(-1, _GRID, _GRID, CODE_WIDTH)
        decoded = _Decoder().apply({"params": self._params}, quantized)
        return jnp.clip(jnp.asarray(decoded)[..., 0], -1, 1)

    def _encode_bucket(self, masks: jax.Array) -> jax.Array:
        encoded = _Encoder().apply({"params": self._params}, masks[..., None])
        cells = jnp.asarray(encoded).reshape(-1, CODE_WIDTH)
        distances = jnp.sum(self._codebook**2, 1) - 2 * cells @ self._codebook.T  # |cell|^2 is the same for all codes
        return jnp.argmin(distances, 1).astype(jnp.int32).reshape(-1, MASK_TOKENS)


def load_vae(path: Path) -> MaskCodec:
    """Read a file in the layout of `vae-oid.npz`.

    Raises:
        CheckpointError: it is not such a file, or arrays are missing or have the wrong shape.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            stored = {name: np.asarray(arrays[name], np.float32) for name in arrays.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is not a NumPy archive of plain arrays") from error
    codebook = stored.get("_vq_vae._embedding")
    params = _to_params(stored)
    if codebook is None or codebook.shape != (CODEBOOK_SIZE, CODE_WIDTH) or _shapes(params) != _expected_shapes():
        raise CheckpointError(f"{path} does not have the arrays of vae-oid.npz, so it is another VQ-VAE")
    return MaskCodec(params, codebook)


def _to_params(stored: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, dict[str, jax.Array]]:
    """PyTorch's names and layouts to those of Flax. The same permutation makes [h, w, in, out] of [out, in, h, w] and
    [h, w, out, in] of the [in, out, h, w] of transposed convolutions."""
    params: dict[str, dict[str, jax.Array]] = {}
    for name, array in stored.items():
        layer, _, kind = name.rpartition(".")
        if kind == "weight" and array.ndim == 4:
            params.setdefault(layer.replace(".", "_"), {})["kernel"] = jnp.asarray(array.transpose(2, 3, 1, 0))
        elif kind == "bias":
            params.setdefault(layer.replace(".", "_"), {})["bias"] = jnp.asarray(array)
    return params


def _shapes(params: Params) -> dict[str, dict[str, tuple[int, ...]]]:
    return {layer: {kind: tuple(array.shape) for kind, array in arrays.items()} for layer, arrays in params.items()}


def _expected_shapes() -> dict[str, dict[str, tuple[int, ...]]]:
    key = jax.random.key(0)
    decoder = jax.eval_shape(_Decoder().init, key, jnp.zeros((1, _GRID, _GRID, CODE_WIDTH)))
    encoder = jax.eval_shape(_Encoder().init, key, jnp.zeros((1, MASK_SIDE, MASK_SIDE, 1)))
    return _shapes({**decoder["params"], **encoder["params"]})


def _buckets(batch: npt.NDArray[Any]) -> list[tuple[npt.NDArray[Any], int]]:
    """Cut a batch into parts of at most `MAX_BUCKET`, padded with zeros to a power of two, each with its true size."""
    parts = []
    for start in range(0, len(batch), MAX_BUCKET):
        part = batch[start : start + MAX_BUCKET]
        padding = (1 << (len(part) - 1).bit_length()) - len(part)
        parts.append((np.pad(part, [(0, padding)] + [(0, 0)] * (batch.ndim - 1)), len(part)))
    return parts
