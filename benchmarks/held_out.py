"""Held-out scenes as questions to a running service, and how near the answers come to what was drawn.

scripts/up &  python -m benchmarks.held_out http://127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
from PIL import Image
from pycocotools import mask as coco

from benchmarks.report import report
from training.scenes import COLOR_NAMES, HELD_OUT_SEEDS, KINDS, Scene, draw_scene

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Question:
    """What is asked about one scene, and the right answer."""

    prompt: str
    image: bytes
    """The scene as a PNG."""
    truth: list[tuple[str, Mask]]
    """Label and mask, bool[H, W], of every object asked for; empty if the scene has none."""

    @property
    def several(self) -> bool:
        """Whether the prompt names more than one thing."""
        return " ; " in self.prompt


def questions(first: int, scenes: int) -> list[Question]:
    """For each scene: one thing that is there, one that is not, and now and then two at once."""
    return [question for seed in HELD_OUT_SEEDS[first : first + scenes] for question in _about(draw_scene(seed))]


def _about(scene: Scene) -> Iterable[Question]:
    random = np.random.default_rng(scene.seed)
    chosen = scene.objects[random.integers(len(scene.objects))]
    present = (f"{chosen.color} {chosen.kind}", chosen.kind, chosen.color)[random.choice(3, p=(0.6, 0.2, 0.2))]
    image = io.BytesIO()
    Image.fromarray(scene.image).save(image, "PNG")
    prompts = [present, _absent(scene, random)]
    other = scene.objects[random.integers(len(scene.objects))]
    if random.random() < 0.3 and other.kind != chosen.kind:
        prompts.append(f"{chosen.color} {chosen.kind} ; {other.kind}")
    for prompt in prompts:
        truth = [(label, found.mask) for label, found in scene.answers(f"segment {prompt}")]
        yield Question(prompt, image.getvalue(), truth)


def _absent(scene: Scene, random: np.random.Generator) -> str:
    """Something the scene does not hold; half of the time its colour and its kind are both there, on other objects."""
    here = [(a.color, b.kind) for a in scene.objects for b in scene.objects]
    anywhere = [(color, kind) for color in COLOR_NAMES for kind in KINDS]
    for pairs in (here, anywhere) if random.random() < 0.5 else (anywhere,):
        missing = [pair for pair in pairs if not scene.matching(" ".join(pair))]
        if missing:
            return " ".join(missing[random.integers(len(missing))])
    raise ValueError("a scene holds everything there is")


def ask(client: httpx2.Client, question: Question, **fields: str) -> dict[str, Any]:
    """Send a question and return the result once there is one."""
    files = {"image_file": ("scene.png", question.image)}
    response = client.post("/segment/", data={"prompt": question.prompt, **fields}, files=files)
    job = response.raise_for_status().json()
    while job["status"] in ("queued", "processing"):
        job = client.get(job["urls"]["self"], params={"wait": 30}).raise_for_status().json()
    if job["status"] != "succeeded":
        raise RuntimeError(f"{job['status']}: {job['error']}")
    result: dict[str, Any] = job["result"]
    return result


def iou(question: Question, result: dict[str, Any]) -> float:
    """Mean over the objects asked for of the overlap with the best answer of that label, each answer used once.

    What is missing counts 0, and so does every answer beyond those asked for: the sum is divided by the larger count.
    """
    answers = [(found["label"], coco.decode(found["mask"]) > 0) for found in result["objects"] if found["mask"]]
    total = 0.0
    for label, mask in question.truth:
        overlaps = [_overlap(mask, answer) if name == label else 0.0 for name, answer in answers]
        if overlaps:
            best = int(np.argmax(overlaps))
            total += overlaps[best]
            answers.pop(best)
    return total / max(len(question.truth), len(result["objects"]))


def _overlap(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def summarize(asked: Sequence[Question], results: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The figures of the card, from questions and their results."""
    pairs = list(zip(asked, results, strict=True))
    present = [iou(question, result) for question, result in pairs if question.truth]
    absent = [not result["objects"] for question, result in pairs if not question.truth]
    return {
        "questions with an answer": len(present),
        "mean IoU": float(np.mean(present)),
        "share with IoU above 0.5": float(np.mean(np.array(present) > 0.5)),
        "questions without one": len(absent),
        "share answered with nothing": float(np.mean(absent)),
    }


def main() -> None:
    """Ask a running service and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="address of the service")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--save", help="keep the figures in benchmarks/results/NAME.json")
    options = parser.parse_args()
    asked = questions(first=0, scenes=options.scenes)
    with httpx2.Client(base_url=options.url, timeout=90) as client, ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda question: ask(client, question), asked))
    report("benchmarks.held_out", summarize(asked, results), options.save)


if __name__ == "__main__":
    main()
