"""All stages from one command: ``python -m training --work FOLDER``. A run that was cut off goes on."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from transformers import PaliGemmaForConditionalGeneration

from training.checkpoint import export, new_model, set_code_embeddings
from training.dense import PatchHead, grade
from training.evaluate import measure
from training.language import Helpers
from training.pool import CHUNK, Pool, build_pool
from training.sample import write_sample
from training.scenes import HELD_OUT_SEEDS
from training.stages import train_dense, train_joint, train_language
from training.vqvae import MaskVqVae, load_npz, train_vqvae

FINAL_SCENES = 500


@dataclass(frozen=True)
class Recipe:
    """What a run is made of; the defaults made the checkpoint in ``models/demo``."""

    work: Path
    out: Path
    seed: int
    scenes: int
    dense_steps: int
    language_steps: int
    joint_steps: int


def main() -> None:
    """Train every stage that is not finished yet, export, and print the figures on held-out scenes."""
    recipe = _read_arguments()
    recipe.work.mkdir(parents=True, exist_ok=True)
    vqvae = _vqvae(recipe)
    pool = build_pool(recipe.work / "pool", vqvae, recipe.scenes)
    model = _train(recipe, vqvae, pool)
    export(model, recipe.work / "vae.npz", recipe.out)
    write_sample(recipe.out)
    print(json.dumps(measure(recipe.out, FINAL_SCENES), indent=2))


def _read_arguments() -> Recipe:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for scenes and unfinished stages, 8 GB")
    parser.add_argument("--out", type=Path, default=Path("models/demo"), help="where the checkpoint goes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, default=48_000, help="training scenes, in chunks of 4000")
    parser.add_argument("--dense-steps", type=int, default=2_400)
    parser.add_argument("--language-steps", type=int, default=600)
    parser.add_argument("--joint-steps", type=int, default=2_300)
    return Recipe(**vars(parser.parse_args()))


def _vqvae(recipe: Recipe) -> MaskVqVae:
    file = recipe.work / "vae.npz"
    return load_npz(file) if file.exists() else train_vqvae(file, seed=recipe.seed)


def _train(recipe: Recipe, vqvae: MaskVqVae, pool: Pool) -> PaliGemmaForConditionalGeneration:
    """The three stages of the model, each picking up where it was."""
    model = new_model(recipe.seed)
    set_code_embeddings(model, vqvae.codebook)
    model.set_attn_implementation("eager")
    head, helpers, work, seed = PatchHead(), Helpers(), recipe.work, recipe.seed
    train_dense(model, head, pool, work / "dense.pt", seed=seed, steps=recipe.dense_steps)
    held_out = build_pool(work / "held-out", vqvae, CHUNK, HELD_OUT_SEEDS[len(HELD_OUT_SEEDS) // 2])
    print("patches of held-out scenes:", grade(model, head, held_out))
    train_language(model, helpers, pool, work / "language.pt", seed=seed, steps=recipe.language_steps)
    train_joint(model, head, helpers, pool, work / "joint.pt", seed=seed, steps=recipe.joint_steps)
    return model.eval()


if __name__ == "__main__":
    main()
