"""The batch command against a closed loop of plain requests, with the same images and the same service.

    python -m benchmarks.batch --url http://127.0.0.1:8000 [--images 500] [--rounds 3] [--kills 0] [--save NAME]

Both have as many jobs under way, and take turns. The loop does nothing but send an image and wait for its answer; the
command also keeps its journal and writes a COCO data set, which must have each image once. Its time has the start of
Python in it, and that after each kill. Each turn gets images of its own, so that no answer is remembered.

With `--api-key` only the command is measured, at the rate of the key, which the loop does not follow. `answers` counts
all answers of the service meanwhile, and those of 429 among them; it must show its metrics to this machine.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from pycocotools.coco import COCO

from benchmarks.report import report
from scenes.scene import draw_scene

_PROMPT = "circle ; square"
_SOURCES = Path(__file__).parents[1] / "client" / "src"
_WAIT_S = 30
_CHECK_S = 0.02


@dataclass(frozen=True)
class Rounds:
    """What is measured."""

    url: str
    images: int
    concurrency: int
    kills: int
    api_key: str

    def measure(self, number: int, folder: Path) -> dict[str, float]:
        """Images per second of both, in one round. They take turns in being first."""
        turns = [("batch", self._batch)] if self.api_key else [("batch", self._batch), ("loop", self._loop)]
        rates = {}
        for turn, (name, run) in enumerate(turns if number % 2 else reversed(turns)):
            photos = folder / f"{number}-{name}"
            draw(photos, (2 * number + turn) * self.images, self.images)
            begin = time.perf_counter()
            run(photos)
            rates[name] = self.images / (time.perf_counter() - begin)
        return rates

    def _batch(self, photos: Path) -> None:
        out = photos.with_name(f"{photos.name}-out")
        command = [sys.executable, "-m", "maskq", "batch", str(photos), _PROMPT, "-o", str(out), "--coco"]
        command += ["--concurrency", str(self.concurrency)]
        environment = {**os.environ, "PYTHONPATH": str(_SOURCES), "MASKQ_URL": self.url, "MASKQ_API_KEY": self.api_key}
        for kill in range(self.kills):
            process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            _wait_for_lines(
                out / ".maskq" / "journal.jsonl", self.images + self.images * (kill + 1) // (self.kills + 1)
            )
            process.kill()
            process.wait()
        subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=True)
        _check(out / "annotations.json", photos)

    def _loop(self, photos: Path) -> None:
        with httpx2.Client(base_url=self.url, timeout=2 * _WAIT_S) as client:

            def segment(path: Path) -> None:
                files = {"image_file": (path.name, path.read_bytes())}
                answer = client.post(
                    "/segment/", data={"prompt": _PROMPT}, files=files, headers={"Prefer": f"wait={_WAIT_S}"}
                )
                while (job := answer.raise_for_status().json())["status"] in ("queued", "processing"):
                    answer = client.get(f"/jobs/{job['id']}", params={"wait": _WAIT_S})

            with ThreadPoolExecutor(self.concurrency) as pool:
                list(pool.map(segment, sorted(photos.iterdir())))


def draw(folder: Path, first_seed: int, count: int) -> None:
    """Write the scenes of some seeds as PNG."""
    folder.mkdir(parents=True)
    for seed in range(first_seed, first_seed + count):
        png = io.BytesIO()
        Image.fromarray(draw_scene(seed).image).save(png, "PNG", compress_level=1)
        (folder / f"{seed:06}.png").write_bytes(png.getvalue())


def _wait_for_lines(path: Path, count: int) -> None:
    while not path.exists() or path.read_bytes().count(b"\n") <= count:
        time.sleep(_CHECK_S)


def _check(annotations: Path, photos: Path) -> None:
    """Check that the data set has each photo once."""
    names = sorted(image["file_name"] for image in COCO(str(annotations)).dataset["images"])
    if names != sorted(path.name for path in photos.iterdir()):
        raise RuntimeError(f"{annotations} has {len(names)} images, and not each of {photos} once")


def answers(url: str) -> tuple[int, int]:
    """How many requests the service has answered, and how many of them with 429."""
    metrics = text_string_to_metric_families(httpx2.get(f"{url}/metrics").raise_for_status().text)
    counts = Counter[str]()
    for sample in (sample for metric in metrics for sample in metric.samples):
        if sample.name == "maskq_http_request_duration_seconds_count":
            counts[sample.labels["status"]] += int(sample.value)
    return counts.total(), counts["429"]


def summary(rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Medians, and the ratio in each round."""
    of_loop: dict[str, Any] = {}
    if all("loop" in each for each in rounds):
        of_loop["loop_images_per_s"] = statistics.median(each["loop"] for each in rounds)
        of_loop["batch_to_loop"] = statistics.median(each["batch"] / each["loop"] for each in rounds)
    return {
        "batch_images_per_s": statistics.median(each["batch"] for each in rounds),
        **of_loop,
        "rounds": {str(number): each for number, each in enumerate(rounds)},
    }


def main() -> None:
    """Measure, and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--api-key", default="")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--kills", type=int, default=0, help="how often the command is killed in each round")
    parser.add_argument("--save", help="save the results in benchmarks/results/NAME.json")
    options = parser.parse_args()
    rounds = Rounds(options.url, options.images, options.concurrency, options.kills, options.api_key)
    answers_before = answers(options.url)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        measured = [rounds.measure(number, Path(folder)) for number in range(options.rounds)]
    all_answers, refused = (after - before for before, after in zip(answers_before, answers(options.url), strict=True))
    report("benchmarks.batch", {**summary(measured), "answers": all_answers, "answers_429": refused}, options.save)


if __name__ == "__main__":
    main()
