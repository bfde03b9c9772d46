"""Runs all training stages with one command and a seed: ``python -m training --work FOLDER``.

To continue an interrupted run, give the same command again. On the same machine, the result is the same as without the
interruption. The folder contains the state of every stage, metrics.jsonl and curves.png (losses; IoU, box error and
absent accuracy on held-out scenes during training), and in final/ the metrics of the finished checkpoint with contact
sheets of sample predictions and of the worst predictions.
"""

import argparse
from dataclasses import dataclass, fields
from pathlib import Path

from transformers import PaliGemmaForConditionalGeneration

from evaluation.metrics import Metrics, format_table
from scenes.scene import HELD_OUT_SEEDS
from training.curves import draw_curves
from training.export import export_checkpoint
from training.metrics_log import METRICS_FILE, read_curves
from training.model import new_model, set_code_embeddings
from training.patch_losses import PatchHead, patch_metrics
from training.pool import CHUNK, Pool, build_pool
from training.sample import write_sample
from training.stages import train_joint, train_language, train_vision
from training.start import set_kind_embeddings, start_from
from training.subjects import SUBJECTS, Subject
from training.token_ids import token_ids
from training.token_losses import AuxiliaryHeads
from training.validation import Validation, evaluate_checkpoint
from training.vqvae import TRAINING_MASKS, VAE_FILE, MaskVqVae, train_vqvae


@dataclass(frozen=True)
class Recipe:
    """The options of a run."""

    subject: Subject
    """What the checkpoint learns."""
    work: Path
    """Folder for scenes and the state of stages."""
    out: Path
    """Folder of the finished checkpoint."""
    start: Path | None = None
    """Folder of a checkpoint to start from; without it, the weights start random."""
    seed: int = 0
    masks: int = TRAINING_MASKS
    """Single masks to train the VQ-VAE on."""
    scenes: int = 12 * CHUNK
    """Training scenes, in chunks of 4000."""
    batch: int = 64
    """Masks, scenes or prompts in one step."""
    vqvae_steps: int = 2_400
    vision_steps: int = 2_400
    language_steps: int = 600
    joint_steps: int = 1_100
    validation_every: int = 200
    """Steps of the last stage between two validations."""
    validation_scenes: int = 60
    final_scenes: int = 1_000
    """Scenes in the final evaluation."""


def main() -> None:
    """Train all unfinished stages, export the checkpoint, and print its metrics on held-out scenes."""
    print(format_table(run(_read_arguments())))


def run(recipe: Recipe) -> Metrics:
    """Run the unfinished stages of a recipe. Returns the metrics of the exported checkpoint."""
    recipe.work.mkdir(parents=True, exist_ok=True)
    form = recipe.subject.form
    vqvae = train_vqvae(
        recipe.work,
        form,
        seed=recipe.seed,
        steps=recipe.vqvae_steps,
        batch=recipe.batch,
        masks=recipe.masks,
        start=recipe.start and recipe.start / VAE_FILE,
    )
    pool = build_pool(recipe.work / "pool", vqvae, form, recipe.scenes)
    model = _train(recipe, vqvae, pool)
    export_checkpoint(model, form.vocabulary, recipe.work / VAE_FILE, recipe.out)
    write_sample(recipe.out, recipe.subject)
    draw_curves(read_curves(recipe.work / METRICS_FILE), recipe.work / "curves.png")
    return evaluate_checkpoint(recipe.out, form, recipe.final_scenes, recipe.work / "final")


def _train(recipe: Recipe, vqvae: MaskVqVae, pool: Pool) -> PaliGemmaForConditionalGeneration:
    """The three stages of the model. Each continues from its saved state."""
    form = recipe.subject.form
    model = _first_model(recipe, vqvae)
    head, auxiliary = PatchHead(form.vocabulary), AuxiliaryHeads()
    work, common = recipe.work, {"seed": recipe.seed, "batch": recipe.batch}
    train_vision(model, head, pool, work / "vision.pt", steps=recipe.vision_steps, **common)
    first_held_out = HELD_OUT_SEEDS[len(HELD_OUT_SEEDS) // 2]
    held_out = build_pool(work / "held-out", vqvae, form, min(CHUNK, recipe.scenes), first_held_out)
    print("patches of held-out scenes:", patch_metrics(model, head, held_out))
    if recipe.start:
        set_kind_embeddings(model, form.vocabulary, head.kind_directions)
    train_language(model, auxiliary, pool, work / "language.pt", steps=recipe.language_steps, **common)
    validation = Validation(work, form, recipe.validation_scenes, recipe.validation_every)
    train_joint(
        model, head, auxiliary, pool, work / "joint.pt", validation=validation, steps=recipe.joint_steps, **common
    )
    return model.eval()


def _first_model(recipe: Recipe, vqvae: MaskVqVae) -> PaliGemmaForConditionalGeneration:
    """The model before the first stage."""
    vocabulary = recipe.subject.form.vocabulary
    model = new_model(recipe.seed, vocabulary)
    set_code_embeddings(model, token_ids(vocabulary).first_code, vqvae.codebook)
    if recipe.start:
        start_from(model, vocabulary, recipe.start)
    model.set_attn_implementation("eager")
    return model


def _read_arguments() -> Recipe:
    parser = argparse.ArgumentParser(
        prog="python -m training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for scenes and the state of stages, 8 GB")
    parser.add_argument("--subject", choices=SUBJECTS, default="shapes", help="what to learn; default: shapes")
    parser.add_argument(
        "--out", type=Path, help="folder of the finished checkpoint; default: models/demo or models/emoji"
    )
    parser.add_argument("--start", type=Path, help="folder of a checkpoint to start from; default: random weights")
    for field in fields(Recipe):
        if isinstance(field.default, int):
            name, default = field.name.replace("_", "-"), field.default
            parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    options = vars(parser.parse_args())
    options["subject"] = SUBJECTS[options["subject"]]
    options["out"] = options["out"] or Path("models") / options["subject"].folder
    return Recipe(**options)


if __name__ == "__main__":
    main()
