"""How good the demo model is on scenes it has never seen: free-running answers, judged in original pixels.

python -m training.evaluate models/demo --scenes 500
"""

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from transformers import PaliGemmaForConditionalGeneration, PaliGemmaProcessor

from training.checkpoint import LONGEST_ANSWER
from training.masks import random_masks
from training.outlines import KINDS
from training.plans import COLOR_NAMES, LAST_LOCATION
from training.pool import MOST_OBJECTS, NO_OBJECT
from training.queries import SceneNames, choose_phrases
from training.scenes import HELD_OUT_SEEDS, Mask, Scene, draw_scene
from training.vqvae import MaskVqVae, ceiling, load_npz

ANSWER = re.compile(r"((?:<loc\d{4}>){4})((?:<seg\d{3}>){16}) ?([^;<]*)")


@dataclass(frozen=True)
class Question:
    """A held-out scene and what it is asked."""

    scene: Scene
    prompt: str


@dataclass(frozen=True)
class Found:
    """One object of an answer: box in 0..1 as (y0, x0, y1, x1), 16 codes, label."""

    box: tuple[float, float, float, float]
    codes: list[int]
    label: str


@dataclass
class Report:
    """Figures of a run. Every true object counts; one without a prediction counts as IoU 0."""

    ious: list[float] = field(default_factory=list)
    box_errors: list[float] = field(default_factory=list)
    empty: int = 0
    astray: int = 0
    spurious: int = 0
    absent: int = 0
    absent_right: int = 0

    def summary(self) -> dict[str, float]:
        """The figures by name."""
        ious = np.array(self.ious)
        return {
            "objects": len(ious),
            "mean_iou": float(ious.mean()),
            "iou_above_half": float((ious > 0.5).mean()),
            "iou_when_found": float(ious[ious > 0.3].mean()) if (ious > 0.3).any() else 0.0,
            "box_error_median": float(np.median(self.box_errors)) if self.box_errors else 1.0,
            "missing": self.empty / len(ious),
            "wrong_place": self.astray / len(ious),
            "spurious": self.spurious / len(ious),
            "absent_prompts": self.absent,
            "absent_answered_empty": self.absent_right / max(self.absent, 1),
        }


def held_out_questions(count: int, first: int = HELD_OUT_SEEDS.start) -> list[Question]:
    """One question for each of ``count`` held-out scenes; about a fifth ask for something that is not there."""
    questions = []
    for seed in range(first, first + count):
        scene = draw_scene(seed)
        asked = choose_phrases(_names(scene), np.random.default_rng([seed, 2]))
        questions.append(Question(scene, "segment " + " ; ".join(asked)))
    return questions


def _names(scene: Scene) -> SceneNames:
    kinds = np.full(MOST_OBJECTS, NO_OBJECT, dtype=np.int8)
    colors, boxes = kinds.copy(), np.zeros((MOST_OBJECTS, 4), dtype=np.float32)
    for index, item in enumerate(scene.objects):
        kinds[index], colors[index] = KINDS.index(item.kind), COLOR_NAMES.index(item.color)
        boxes[index] = item.box
    return SceneNames(kinds, colors, boxes)


def parse(text: str) -> list[Found]:
    """The well-formed objects of an answer; anything else is left out, and so counts as missing."""
    found = []
    for places, codes, label in ANSWER.findall(text):
        y0, x0, y1, x1 = (int(value) / LAST_LOCATION for value in re.findall(r"\d{4}", places))
        if y1 > y0 and x1 > x0:
            found.append(Found((y0, x0, y1, x1), [int(code) for code in re.findall(r"\d{3}", codes)], label.strip()))
    return found


@torch.no_grad()
def answer(
    model: PaliGemmaForConditionalGeneration, processor: PaliGemmaProcessor, questions: list[Question], batch: int = 50
) -> Iterator[str]:
    """The model's own greedy answers, with nothing forced."""
    for start in range(0, len(questions), batch):
        part = questions[start : start + batch]
        inputs = processor(
            images=[[question.scene.image] for question in part],
            text=["<image>" + question.prompt for question in part],
            return_tensors="pt",
            padding=True,
        )
        inputs.pop("labels", None)
        inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
        tokens = model.generate(**inputs, do_sample=False, max_new_tokens=LONGEST_ANSWER)[
            :, inputs["input_ids"].shape[1] :
        ]
        yield from processor.batch_decode(tokens, skip_special_tokens=True)


@torch.no_grad()
def render(vqvae: MaskVqVae, found: Found, height: int, width: int) -> Mask:
    """bool[height, width]: the decoded mask stretched over its box in the original picture."""
    y0, x0, y1, x1 = (round(edge * side) for edge, side in zip(found.box, (height, width, height, width), strict=True))
    mask = np.zeros((height, width), dtype=np.bool_)
    if y1 > y0 and x1 > x0:
        soft = vqvae.decode(torch.tensor([found.codes]))[0].numpy()
        mask[y0:y1, x0:x1] = cv2.resize(soft, (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR) > 0
    return mask


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union."""
    return float((one & other).sum() / max((one | other).sum(), 1))


def judge(report: Report, vqvae: MaskVqVae, question: Question, text: str) -> None:
    """Add one answer to ``report``: every true object takes the best prediction of its label that is still free."""
    height, width = question.scene.image.shape[:2]
    free = [(found, render(vqvae, found, height, width)) for found in parse(text)]
    truths = question.scene.answers(question.prompt)
    if not truths:
        report.absent += 1
        report.absent_right += text.strip() == ""
        return
    for label, truth in truths:
        named = [(index, mask) for index, (found, mask) in enumerate(free) if found.label == label]
        scored = [(overlap(mask, truth.mask), index) for index, mask in named]
        best, index = max(scored, default=(0.0, -1))
        report.ious.append(best)
        report.empty += not scored
        report.astray += bool(scored) and best < 0.1
        if best >= 0.1:
            found, _ = free.pop(index)
            report.box_errors.append(float(np.abs(np.subtract(found.box, truth.box)).mean()))
    report.spurious += len(free)


def evaluate(
    model: PaliGemmaForConditionalGeneration,
    processor: PaliGemmaProcessor,
    vqvae: MaskVqVae,
    questions: list[Question],
) -> dict[str, float]:
    """Ask every question and judge the answers."""
    report = Report()
    for question, text in zip(questions, answer(model, processor, questions), strict=True):
        judge(report, vqvae, question, text)
    return report.summary()


def measure(folder: Path, scenes: int) -> dict[str, float]:
    """Figures of the checkpoint in ``folder`` on held-out scenes, in float32, and how far its VQ-VAE could go."""
    model = PaliGemmaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor, vqvae = PaliGemmaProcessor.from_pretrained(folder), load_npz(folder / "vae.npz")
    figures = evaluate(model, processor, vqvae, held_out_questions(scenes))
    figures["vqvae_ceiling"] = ceiling(vqvae, random_masks(HELD_OUT_SEEDS.start, 1_000))
    return {name: round(value, 4) for name, value in figures.items()}


def main() -> None:
    """Evaluate a checkpoint folder and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", type=int, default=500)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.folder, arguments.scenes), indent=2))


if __name__ == "__main__":
    main()
