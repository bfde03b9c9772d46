"""What a job costs around the model, stage by stage: microseconds of CPU time of each stage by itself.

    python -m benchmarks.pace.stages [--seconds 0.2] [--only IMAGE ...] [--save NAME]

Each stage of the worker runs alone, many times, on the images and answers of `benchmarks.pace`. Counted is the CPU time
of this process with all its threads; the processes that decode images and the broker have rows of their own. A whole
job costs more: its threads wait for each other, and their data displaces each other in the caches.
`masks_together_us` is what one mask costs if so many are decoded in a batch.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from transformers import AutoTokenizer

from benchmarks.ledger import broker_server
from benchmarks.pace.cpu_time import cpu_us, decoders_cpu_s
from benchmarks.pace.device import written_answers
from benchmarks.pace.images import images
from benchmarks.pace.ledger_cost import ledger_us
from benchmarks.pace.worker import processor_of_side
from benchmarks.report import report
from shared.domain.job import MaskFormat
from shared.domain.paligemma import CODEBOOK_SIZE, MASK_TOKENS
from shared.domain.result import ImageSize, SegmentationResult
from shared.images.sandbox import DecodedImage, DecodingPool
from shared.settings import Settings
from worker.stages.mask_vqvae import MaskCodec, keep_jax_on_cpu, load_vae
from worker.stages.merge import merge_duplicates, merge_views
from worker.stages.parse import Detection, parse_answer
from worker.stages.place import FoundObject, place
from worker.stages.preprocess import Preprocessor
from worker.stages.render import render_object
from worker.stages.select import split_by_score

_SIDE = 224
_PHRASE = "red circle"
_BATCHES = (1, 4, 16, 64)
_LEDGER_BYTES = 120_000_000
_MOST_LEDGER_JOBS = 200


@dataclass(frozen=True)
class Bench:
    """The parts of a worker that the stages need."""

    decoders: DecodingPool
    preprocessor: Preprocessor
    tokenizer: Any
    codec: MaskCodec

    @classmethod
    def start(cls) -> Self:
        """With the tokenizer and the mask decoder of the demo checkpoint."""
        keep_jax_on_cpu()
        tokenizer = AutoTokenizer.from_pretrained("models/demo", trust_remote_code=False)
        processor = processor_of_side(SimpleNamespace(image_token="<image>", tokenizer=tokenizer), _SIDE)
        codec = load_vae(Path("models/demo/vae.npz"))
        return cls(DecodingPool(Settings.of().images), Preprocessor(processor, 64), tokenizer, codec)

    def job(self, image: bytes) -> BenchJob:
        """A job with this image, whose answer has one object."""
        answer = [token for token, _, is_end in next(written_answers(self.tokenizer)) if not is_end]
        text = self.tokenizer.decode(answer)
        detection = _parse(text)
        soft = self.codec.decode(np.array([detection.codes], np.int32))[0]
        return BenchJob(image, self.decoders.decode(image, (_SIDE, _SIDE)), answer, text, detection, soft)

    def stages(self, job: BenchJob) -> Mapping[str, Callable[[], object]]:
        """The stages of a job in this process, in order."""
        codes = np.array([job.detection.codes], np.int32)
        found, result = job.found(), job.result()
        return {
            "decode, worker": lambda: self.decoders.decode(job.image, (_SIDE, _SIDE)),
            "prepare": lambda: self.preprocessor.prepare(job.picture.image, f"segment {_PHRASE}"),
            "read tokens": lambda: (
                self.tokenizer.decode(job.answer),
                self.tokenizer.convert_ids_to_tokens(job.answer),
            ),
            "parse": lambda: _parse(job.text),
            "decode mask": lambda: self.codec.decode(codes),
            "place": job.found,
            "merge and select": lambda: split_by_score(merge_views([merge_duplicates([found])])[0], 0.0),
            **{f"render {name}": partial(job.rendered, name) for name in MaskFormat},
            "result as JSON": result.model_dump_json,
        }

    def masks_together_us(self, seconds: float) -> Mapping[str, float]:
        """CPU time of one mask, by how many are decoded in a batch."""
        random = np.random.default_rng(0)
        batches = {
            count: random.integers(0, CODEBOOK_SIZE, (count, MASK_TOKENS)).astype(np.int32) for count in _BATCHES
        }
        return {
            str(count): cpu_us(partial(self.codec.decode, codes), seconds) / count for count, codes in batches.items()
        }


@dataclass(frozen=True)
class BenchJob:
    """What a job has between its stages."""

    image: bytes
    picture: DecodedImage
    answer: Sequence[int]
    text: str
    detection: Detection
    soft: npt.NDArray[np.float32]

    def found(self) -> FoundObject:
        """Its object, with nothing computed yet."""
        return place(self.detection, self.soft, (self.picture.width, self.picture.height))

    def rendered(self, name: MaskFormat) -> object:
        """Its object as the client gets it."""
        return render_object(self.found(), (name,))

    def result(self) -> SegmentationResult:
        """Its result with run lengths."""
        size = ImageSize(width=self.picture.width, height=self.picture.height)
        objects = [render_object(self.found(), (MaskFormat.RLE,))]
        return SegmentationResult(image=size, objects=objects, skipped=[], truncated=False, raw_text=self.text)


def _parse(text: str) -> Detection:
    return parse_answer(text, [-0.1] * 20, phrases=[_PHRASE]).detections[0]


def measure(names: Sequence[str], seconds: float, folder: Path) -> dict[str, Any]:
    """The results for the images of these names."""
    bench, files, results = Bench.start(), images(), {}
    with bench.decoders, broker_server(folder / "broker") as url:
        for name in names:
            job = bench.job(files[name][0])
            stages = bench.stages(job)
            ledger_jobs = min(_MOST_LEDGER_JOBS, _LEDGER_BYTES // len(job.image))
            results[name] = {
                "decode, helper": cpu_us(stages["decode, worker"], seconds, decoders_cpu_s),
                **{stage: cpu_us(work, seconds) for stage, work in stages.items()},
                **ledger_us(url, job.image, ledger_jobs, job.result()),
            }
    return {"stages_us": results, "masks_together_us": bench.masks_together_us(seconds)}


def main() -> None:
    """Measure, and print the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.2, help="CPU seconds of each measurement")
    parser.add_argument("--only", nargs="+", choices=list(images()), help="measure only these images")
    parser.add_argument("--save", help="keep the results in benchmarks/results/NAME.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = measure(options.only or list(images()), options.seconds, Path(folder))
    report("benchmarks.pace.stages", results, options.save)


if __name__ == "__main__":
    main()
