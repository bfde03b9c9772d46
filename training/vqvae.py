"""The mask VQ-VAE in the layout of ``vae-oid.npz``: 64 x 64 masks to 16 codes of 128, and back.

Layer order as in big_vision (``pp/proj/paligemma/segmentation.py`` encodes,
``evaluators/proj/paligemma/transfers/segmentation.py`` decodes), after https://arxiv.org/abs/2301.02229.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from scenes.layout import SceneForm
from scenes.scene import TRAINING_SEEDS
from scenes.shape_masks import random_masks
from shared.domain.paligemma import CODEBOOK_SIZE, MASK_TOKENS
from training.progress import Progress
from training.resume import SavedState

CODE_SIZE = 512
GRID = 4
CODEBOOK_DECAY = 0.99
COMMITMENT_WEIGHT = 0.25
TRAINING_MASKS = 24_000
VAE_FILE = "vae.npz"
_MAX_STEPS = 1_000_000
PLAIN_STEPS = 200
"""First steps, without codes: a codebook that starts from untrained encoder outputs collapses to one code."""


class ResidualBlock(nn.Module):
    """``x + conv1x1(relu(conv3x3(relu(conv3x3(x)))))`` over 128 channels."""

    def __init__(self, channels: int = 128) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.net(x)


def _encoder() -> nn.Sequential:
    """float[B, 1, 64, 64] in -1..1 -> float[B, 512, 4, 4]."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 16), (16, 32), (32, 64), (64, 128)):
        layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, ResidualBlock(), ResidualBlock(), nn.Conv2d(128, CODE_SIZE, 1))


def _decoder() -> nn.Sequential:
    """float[B, 512, 4, 4] -> float[B, 1, 64, 64], inside where above 0."""
    layers: list[nn.Module] = [nn.Conv2d(CODE_SIZE, 128, 1), nn.ReLU(), ResidualBlock(), ResidualBlock()]
    for inputs, outputs in ((128, 128), (128, 64), (64, 32), (32, 16)):
        layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 1, 1))


class Codebook(nn.Module):
    """128 vectors. Each follows the running mean of the encoder outputs that it replaces."""

    def __init__(self) -> None:
        super().__init__()
        self._embedding: Tensor
        self._ema_cluster_size: Tensor
        self._ema_w: Tensor
        self.register_buffer("_embedding", torch.randn(CODEBOOK_SIZE, CODE_SIZE))
        self.register_buffer("_ema_cluster_size", torch.ones(CODEBOOK_SIZE))
        self.register_buffer("_ema_w", self._embedding.clone())

    def nearest(self, vectors: Tensor) -> Tensor:
        """float[N, 512] -> int64[N], 0..127."""
        return torch.cdist(vectors, self._embedding).argmin(dim=1)

    def lookup(self, codes: Tensor) -> Tensor:
        """int64[...] -> float[..., 512]."""
        return functional.embedding(codes, self._embedding)

    @torch.no_grad()
    def restart(self, vectors: Tensor) -> None:
        """Set all codes to randomly chosen vectors of float[N, 512]."""
        self._embedding.copy_(vectors[torch.randint(len(vectors), (CODEBOOK_SIZE,))])
        self._ema_w.copy_(self._embedding)
        self._ema_cluster_size.fill_(1.0)

    @torch.no_grad()
    def follow(self, vectors: Tensor, codes: Tensor) -> None:
        """Move every code towards the vectors it replaces. Codes out of use restart at random vectors."""
        assigned = functional.one_hot(codes, CODEBOOK_SIZE).to(vectors.dtype)
        self._ema_cluster_size.lerp_(assigned.sum(dim=0), 1 - CODEBOOK_DECAY)
        self._ema_w.lerp_(assigned.T @ vectors, 1 - CODEBOOK_DECAY)
        unused = self._ema_cluster_size < len(vectors) / CODEBOOK_SIZE * 0.03
        replacements = vectors[torch.randint(len(vectors), (CODEBOOK_SIZE,))]
        self._ema_w[unused] = replacements[unused]
        self._ema_cluster_size[unused] = 1.0
        self._embedding.copy_(self._ema_w / self._ema_cluster_size.clamp(min=1e-5)[:, None])


class MaskVqVae(nn.Module):
    """Masks to codes and back. The names of its parameters are those of ``vae-oid.npz``."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _encoder()
        self._vq_vae = Codebook()
        self.decoder = _decoder()

    def _vectors(self, masks: Tensor) -> Tensor:
        """float[B, 1, 64, 64] in -1..1 -> float[B * 16, 512]."""
        return self.encoder(masks).permute(0, 2, 3, 1).reshape(-1, CODE_SIZE)

    def _decode(self, vectors: Tensor) -> Tensor:
        """float[B * 16, 512] -> float[B, 64, 64], inside where above 0."""
        grid = vectors.reshape(-1, GRID, GRID, CODE_SIZE).permute(0, 3, 1, 2)
        return self.decoder(grid)[:, 0]

    @property
    def codebook(self) -> Tensor:
        """float32[128, 512]."""
        return self._vq_vae.lookup(torch.arange(CODEBOOK_SIZE))

    def encode(self, masks: Tensor) -> Tensor:
        """float32[B, 1, 64, 64] in -1..1 -> int64[B, 16], 0..127, row by row."""
        return self._vq_vae.nearest(self._vectors(masks)).reshape(-1, MASK_TOKENS)

    def plain_loss(self, masks: Tensor) -> Tensor:
        """Squared error of the reconstruction without codes, for the first steps."""
        with torch.autocast("cpu", torch.bfloat16):
            reconstructed = self.decoder(self.encoder(masks))
        return functional.mse_loss(reconstructed.float(), masks)

    def loss(self, masks: Tensor) -> Tensor:
        """Squared error of the reconstruction plus commitment loss. Also updates the codebook."""
        with torch.autocast("cpu", torch.bfloat16):
            vectors = self._vectors(masks)
        vectors = vectors.float()
        codes = self._vq_vae.nearest(vectors.detach())
        self._vq_vae.follow(vectors.detach(), codes)
        chosen = self._vq_vae.lookup(codes)
        with torch.autocast("cpu", torch.bfloat16):
            reconstructed = self._decode(vectors + (chosen - vectors).detach())
        error = functional.mse_loss(reconstructed.float(), masks[:, 0])
        return error + COMMITMENT_WEIGHT * functional.mse_loss(vectors, chosen)

    @torch.no_grad()
    def restart_codebook(self, masks: Tensor) -> None:
        """Restart the codes at current encoder outputs for ``masks``."""
        self._vq_vae.restart(self._vectors(masks))


def _save_npz(model: MaskVqVae, path: Path) -> None:
    """Write every array in float32, with the names of ``vae-oid.npz``."""
    np.savez(path, allow_pickle=False, **{name: value.float().numpy() for name, value in model.state_dict().items()})


def _load_npz(path: Path) -> MaskVqVae:
    """Read a VQ-VAE in the layout of ``vae-oid.npz``, in evaluation mode."""
    model = MaskVqVae()
    with np.load(path) as arrays:
        model.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
    return model.eval()


def as_input(masks: npt.NDArray[np.float32]) -> Tensor:
    """Coverage float32[B, 64, 64] in 0..1 -> float32[B, 1, 64, 64] in -1..1."""
    return torch.from_numpy(masks)[:, None] * 2 - 1


def train_vqvae(
    work: Path,
    form: SceneForm,
    *,
    seed: int,
    steps: int,
    batch: int,
    masks: int = TRAINING_MASKS,
    start: Path | None = None,
) -> MaskVqVae:
    """Return the VQ-VAE of ``work/vae.npz``. If it is missing, train it on masks of ``form``: 5 minutes on 2 cores.

    ``start`` is the file of a trained one to continue from.
    """
    path = work / VAE_FILE
    if path.exists():
        return _load_npz(path)
    torch.manual_seed(seed)
    model = _load_npz(start).train() if start else MaskVqVae().train()
    plain_steps = -1 if start else PLAIN_STEPS  # a trained codebook is kept
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    data = as_input(random_masks(TRAINING_SEEDS.start + seed, masks, form))
    saved = SavedState(work / "vqvae.pt", model=model, optimizer=optimizer, schedule=schedule)
    done = saved.load()
    progress = Progress("vqvae", steps, work, done=done)
    for step in range(done, steps):
        torch.manual_seed(seed * _MAX_STEPS + step)  # the random numbers of a step depend on its number only
        chosen = data[torch.randint(len(data), (batch,))]
        if step == plain_steps:
            model.restart_codebook(data[:1024])
        loss = model.plain_loss(chosen) if step < plain_steps else model.loss(chosen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        progress.report(step, loss=loss.item())
        if saved.is_due():
            saved.save(step + 1)
    _save_npz(model.eval(), path)
    return model
