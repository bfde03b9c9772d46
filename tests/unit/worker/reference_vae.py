"""The network of `vae-oid.npz` in PyTorch, written from the layout alone. Tests compare the Flax network with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

_WIDTHS = (16, 32, 64, 128)


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        convs = [nn.Conv2d(128, 128, 3, padding=1), nn.Conv2d(128, 128, 3, padding=1), nn.Conv2d(128, 128, 1)]
        self.net = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


class ReferenceVae(nn.Module):
    """Its parameters have the names of the arrays."""

    def __init__(self) -> None:
        super().__init__()
        encoder: list[nn.Module] = []
        for width_in, width_out in zip((1, *_WIDTHS[:-1]), _WIDTHS, strict=True):
            encoder += [nn.Conv2d(width_in, width_out, 4, stride=2, padding=1), nn.ReLU()]
        self.encoder = nn.Sequential(*encoder, _Residual(), _Residual(), nn.Conv2d(128, 512, 1))
        decoder: list[nn.Module] = [nn.Conv2d(512, 128, 1), nn.ReLU(), _Residual(), _Residual()]
        for width_in, width_out in zip((128, *_WIDTHS[:0:-1]), _WIDTHS[::-1], strict=True):
            decoder += [nn.ConvTranspose2d(width_in, width_out, 4, stride=2, padding=1), nn.ReLU()]
        self.decoder = nn.Sequential(*decoder, nn.Conv2d(16, 1, 1))
        self.codebook = torch.randn(128, 512)

    def decode(self, codes: Tensor) -> Tensor:
        """int64[N, 16] -> float32[N, 64, 64]."""
        grid = self.codebook[codes].reshape(-1, 4, 4, 512).permute(0, 3, 1, 2)
        return self.decoder(grid)[:, 0]

    def encode(self, masks: Tensor) -> Tensor:
        """float32[N, 64, 64] -> int64[N, 16]."""
        cells = self.encoder(masks[:, None]).permute(0, 2, 3, 1).reshape(-1, 512)
        return torch.cdist(cells, self.codebook).argmin(1).reshape(-1, 16)

    def save(self, path: Path, without: str = "", **changed: Tensor) -> None:
        """Write all arrays under the names of `vae-oid.npz`. `changed` replaces some, and `without` names one to leave
        out."""
        arrays = {**self.state_dict(), "_vq_vae._embedding": self.codebook, **changed}
        arrays.pop(without, None)
        np.savez(path, allow_pickle=False, **{name: value.numpy() for name, value in arrays.items()})
