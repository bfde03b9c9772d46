"""Losses on image patches: what the vision tower learns before the language model joins.

An auxiliary head on the projector's output predicts for every patch whether an object is there, its colour and kind,
its four edges and its 16 mask codes: 64 targets for each image instead of one sequence. The head is not exported.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PaliGemmaForConditionalGeneration

from scenes.layout import LATTICE_STEP
from scenes.painting import Pixels
from scenes.phrases import NO_OBJECT
from scenes.vocabulary import Vocabulary
from shared.domain.paligemma import CODEBOOK_SIZE, LOCATION_SCALE, MASK_TOKENS
from training.model import WIDTH, number_waves
from training.pool import Ints, Pool
from training.token_ids import BINS

EDGES = 4
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class PatchTargets:
    """Images and targets of B scenes with 64 patches each. P of the patches show an object."""

    pixels: Tensor
    """bfloat16[B, 3, 224, 224] in about -1..1."""
    owned: Tensor
    """bool[B, 64]: whether a patch shows an object."""
    names: dict[str, Tensor]
    """int64[P] for each attribute of the vocabulary: "color", "kind"."""
    edges: Tensor
    """float32[P, 4]: y0, x0, y1, x1 in 0..1."""
    codes: Tensor
    """int64[P, 16]."""


class PatchHead(nn.Module):
    """Linear layers over projected patches, float[..., 192]. Edges are compared with waves, like location tokens."""

    bins: Tensor

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.object = nn.Linear(WIDTH, 1)
        self.names = nn.ModuleDict(
            {name: nn.Linear(WIDTH, len(words)) for name, words in vocabulary.attributes.items()}
        )
        self.edges = nn.Linear(WIDTH, EDGES * WIDTH)
        self.codes = nn.Linear(WIDTH, MASK_TOKENS * CODEBOOK_SIZE)
        self.register_buffer("bins", number_waves(torch.linspace(0, 1, BINS)))
        self.edge_scale = nn.Parameter(torch.tensor(4.0))

    @property
    def kind_directions(self) -> Tensor:
        """float32[kinds, 192]: the weights that recognize each kind."""
        return self.names["kind"].get_parameter("weight")

    def edge_logits(self, features: Tensor) -> Tensor:
        """float[P, 192] -> float[P, 4, 129]."""
        return self.edges(features).unflatten(-1, (EDGES, WIDTH)) @ (self.edge_scale * self.bins.T)

    def code_logits(self, features: Tensor) -> Tensor:
        """float[P, 192] -> float[P, 16, 128]."""
        return self.codes(features).unflatten(-1, (MASK_TOKENS, CODEBOOK_SIZE))

    def losses(self, features: Tensor, targets: PatchTargets, softness: float) -> dict[str, Tensor]:
        """One loss for each prediction, from features float[B, 64, 192]."""
        patches = features[targets.owned]
        return {
            "object": functional.binary_cross_entropy_with_logits(
                self.object(features)[..., 0].float(), targets.owned.float()
            ),
            **{
                name: functional.cross_entropy(linear(patches).float(), targets.names[name])
                for name, linear in self.names.items()
            },
            "edges": soft_edge_loss(self.edge_logits(patches).float(), targets.edges, softness),
            "codes": functional.cross_entropy(self.code_logits(patches).float().flatten(0, 1), targets.codes.flatten()),
        }


WEIGHTS = {"object": 1.0, "color": 1.0, "kind": 1.0, "edges": 1.0, "codes": 0.7}


def soft_edge_loss(logits: Tensor, edges: Tensor, softness: float) -> Tensor:
    """Cross entropy of float[P, 4, 129] with a Gaussian around edges float[P, 4] in 0..1.

    Its standard deviation is ``softness`` lattice steps.
    """
    distance = torch.arange(BINS) - edges[..., None] * (LOCATION_SCALE / LATTICE_STEP)
    target = torch.softmax(-0.5 * (distance / softness) ** 2, dim=-1)
    return -(target * logits.log_softmax(dim=-1)).sum(dim=-1).mean()


def patch_targets(pool: Pool, scenes: Ints, mirrored: Bools, random: np.random.Generator | None) -> PatchTargets:
    """The images and targets of these scenes. Brightness changes a little if ``random`` is given."""
    view = mirrored.astype(np.int64)
    owners = torch.from_numpy(pool.owners[scenes, view]).long()
    owned = owners != NO_OBJECT
    image, patch = owned.nonzero(as_tuple=True)
    owner = owners[image, patch]

    def of_owner(values: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(values)[image, owner]

    return PatchTargets(
        pixels=normalized(pool.pixels(scenes, mirrored), random),
        owned=owned,
        names={"color": of_owner(pool.colors[scenes]).long(), "kind": of_owner(pool.kinds[scenes]).long()},
        edges=of_owner(pool.boxes[scenes, view]),
        codes=of_owner(pool.codes[scenes, view]).long(),
    )


def normalized(pixels: Pixels, random: np.random.Generator | None) -> Tensor:
    """uint8[B, H, W, 3] -> bfloat16[B, 3, H, W] in -1..1, scaled as by the processor. ``random`` changes brightness."""
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(torch.bfloat16)
    gain, shift = torch.ones(len(pixels)), torch.zeros(len(pixels))
    if random is not None:
        gain = torch.from_numpy(random.uniform(0.88, 1.06, size=len(pixels))).float()
        shift = torch.from_numpy(random.uniform(-0.06, 0.06, size=len(pixels))).float()
    scale, offset = (values[:, None, None, None].to(torch.bfloat16) for values in (gain / 127.5, shift - gain))
    return batch.mul_(scale).add_(offset)


def image_features(model: PaliGemmaForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Pixels[B, 3, 224, 224] -> float32[B, 64, 192]: the image tokens for the language model."""
    with torch.autocast("cpu", torch.bfloat16):
        features: Tensor = model.model.get_image_features(pixels).pooler_output
    return features.float()


def edge_softness(done: float) -> float:
    """Standard deviation around an edge in lattice steps, from 2.5 at the start to 0.5; ``done`` is in 0..1."""
    return 2.5 * (1 - done) + 0.5 * done


@torch.no_grad()
def patch_metrics(
    model: PaliGemmaForConditionalGeneration, head: PatchHead, pool: Pool, scenes: int = 512
) -> dict[str, float]:
    """Accuracy of the head on patches of a pool, and its mean and median edge error in 0..1 of the image side."""
    chosen = np.arange(min(scenes, len(pool)))
    targets = patch_targets(pool, chosen, np.zeros(len(chosen), dtype=np.bool_), None)
    features = image_features(model, targets.pixels)
    patches = features[targets.owned]
    edges = head.edge_logits(patches).argmax(dim=-1) * (LATTICE_STEP / LOCATION_SCALE)
    return {
        "object": ((head.object(features)[..., 0] > 0) == targets.owned).float().mean().item(),
        **{
            name: (linear(patches).argmax(dim=-1) == targets.names[name]).float().mean().item()
            for name, linear in head.names.items()
        },
        "edge_error": (edges - targets.edges).abs().mean().item(),
        "edge_error_median": (edges - targets.edges).abs().median().item(),
        "codes": (head.code_logits(patches).argmax(dim=-1) == targets.codes).float().mean().item(),
    }
