"""All stages from one command and a seed: ``python -m training --work FOLDER``. A run that was cut off goes on.

What comes out is the same whether it was cut off or not, on the same machine. In the folder: the state of every stage,
metrics.jsonl and curves.png (losses; IoU, box error and absent accuracy on held-out scenes as the model learns), and
in final/ the figures of the finished checkpoint with a page of sample answers and one of the worst.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from transformers import PaliGemmaForConditionalGeneration

from evaluation.metrics import Figures, as_table
from scenes.scene import HELD_OUT_SEEDS
from training.curves import draw_curves, read_curves
from training.model import export, new_model, set_code_embeddings
from training.patch_losses import PatchHead, grade
from training.pool import CHUNK, Pool, build_pool
from training.progress import METRICS
from training.sample import write_sample
from training.stages import train_dense, train_joint, train_language
from training.token_losses import Helpers
from training.validation import Validation, measure
from training.vqvae import TRAINING_MASKS, MaskVqVae, train_vqvae


@dataclass(frozen=True)
class Recipe:
    """What a run is made of."""

    work: Path
    out: Path
    seed: int = 0
    masks: int = TRAINING_MASKS
    """Single masks that the VQ-VAE learns from."""
    scenes: int = 12 * CHUNK
    """Training scenes, in chunks of 4000."""
    batch: int = 64
    vqvae_steps: int = 2_400
    dense_steps: int = 2_400
    language_steps: int = 600
    joint_steps: int = 1_100
    validation_every: int = 200
    """Steps of the last stage between two validations."""
    validation_scenes: int = 60
    final_scenes: int = 1_000


def main() -> None:
    """Train every stage that is not finished yet, export, and print the figures on held-out scenes."""
    print(as_table(run(_read_arguments())))


def run(recipe: Recipe) -> Figures:
    """Do what is left of a recipe; returns the figures of the checkpoint that it makes."""
    recipe.work.mkdir(parents=True, exist_ok=True)
    vqvae = train_vqvae(recipe.work, seed=recipe.seed, steps=recipe.vqvae_steps, batch=recipe.batch, masks=recipe.masks)
    pool = build_pool(recipe.work / "pool", vqvae, recipe.scenes)
    model = _train(recipe, vqvae, pool)
    export(model, recipe.work / "vae.npz", recipe.out)
    write_sample(recipe.out)
    draw_curves(read_curves(recipe.work / METRICS), recipe.work / "curves.png")
    return measure(recipe.out, recipe.final_scenes, recipe.work / "final")


def _train(recipe: Recipe, vqvae: MaskVqVae, pool: Pool) -> PaliGemmaForConditionalGeneration:
    """The three stages of the model, each picking up where it was."""
    model = new_model(recipe.seed)
    set_code_embeddings(model, vqvae.codebook)
    model.set_attn_implementation("eager")
    head, helpers, work, common = PatchHead(), Helpers(), recipe.work, {"seed": recipe.seed, "batch": recipe.batch}
    train_dense(model, head, pool, work / "dense.pt", steps=recipe.dense_steps, **common)
    first_held_out = HELD_OUT_SEEDS[len(HELD_OUT_SEEDS) // 2]
    held_out = build_pool(work / "held-out", vqvae, min(CHUNK, recipe.scenes), first_held_out)
    print("patches of held-out scenes:", grade(model, head, held_out))
    train_language(model, helpers, pool, work / "language.pt", steps=recipe.language_steps, **common)
    validation = Validation(work, recipe.validation_scenes, recipe.validation_every)
    train_joint(
        model, head, helpers, pool, work / "joint.pt", validation=validation, steps=recipe.joint_steps, **common
    )
    return model.eval()


def _read_arguments() -> Recipe:
    parser = argparse.ArgumentParser(
        prog="python -m training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for scenes and unfinished stages, 8 GB")
    parser.add_argument("--out", type=Path, default=Path("models/demo"), help="where the checkpoint goes")
    for name, default in vars(Recipe(Path(), Path())).items():
        if name not in ("work", "out"):
            parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default, help=f"default: {default}")
    return Recipe(**vars(parser.parse_args()))


if __name__ == "__main__":
    main()
