"""The demo checkpoint behind `generate` of transformers: what the peers serve. It does the same work as a worker, with
the same stages, and no engine."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from pydantic import TypeAdapter

from benchmarks.engine import Subject, generate
from shared.domain.job import MaskFormat
from shared.domain.paligemma import SPATIAL_TOKEN, read_prompt
from shared.domain.prompt import normalize_prompt
from shared.domain.result import SegmentedObject
from shared.registry import served_model
from shared.settings import Settings
from worker.build import limit_threads, set_up_libraries
from worker.engine.model_input import ModelInput
from worker.loading.checkpoint import load_checkpoint
from worker.stages.parse import parse_answer
from worker.stages.place import place
from worker.stages.preprocess import Preprocessor
from worker.stages.render import render_object

BATCH = 16
"""Most images in one call of `generate`, for peers that make batches. Two shared cores do 19.5 images a second in
batches of 8, 22.2 of 16, 22.2 of 32 and 18.9 of 64."""

_OBJECTS = TypeAdapter(list[SegmentedObject])


class PlainModel:
    """A loaded checkpoint. Not safe to share between threads."""

    def __init__(self) -> None:
        set_up_libraries()
        settings = Settings.of()
        checkpoint = load_checkpoint(served_model(settings.model), settings.checkpoint, settings.model)
        limit_threads(checkpoint.model)
        checkpoint.codec.warm_up()
        self._codec = checkpoint.codec
        self._tokenizer = checkpoint.processor.tokenizer
        self._preprocessor = Preprocessor(checkpoint.processor, settings.engine.max_prompt_tokens)
        self._subject = Subject(checkpoint.model, self._tokenizer, [], settings.engine.max_answer_tokens, has_eos=True)

    def answer(self, jobs: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """The objects of each job, a prompt and an image file, as JSON. All jobs are one batch."""
        images = [Image.open(io.BytesIO(file)).convert("RGB") for _, file in jobs]
        prompts = [normalize_prompt(prompt) for prompt, _ in jobs]
        side = (self._preprocessor.side, self._preprocessor.side)
        inputs: list[ModelInput] = [
            self._preprocessor.prepare(image.resize(side, Image.Resampling.BICUBIC), prompt)
            for image, prompt in zip(images, prompts, strict=True)
        ]
        written = generate(self._subject, inputs)
        rows = zip(written, prompts, images, strict=True)
        return [self._objects(tokens, prompt, image.size) for tokens, prompt, image in rows]

    def _objects(self, token_ids: list[int], prompt: str, size: tuple[int, int]) -> bytes:
        text = self._tokenizer.decode(token_ids, skip_special_tokens=False)
        spatial = len(SPATIAL_TOKEN.findall(text))
        detections = parse_answer(text, [0.0] * spatial, phrases=read_prompt(prompt)).detections
        codes = [each.codes for each in detections if each.codes]
        masks = iter(list(self._codec.decode(np.array(codes, np.int32))) if codes else [])
        view = (0, 0, *size)
        found = [place(each, next(masks) if each.codes else None, size, view, None) for each in detections]
        return _OBJECTS.dump_json([render_object(each, [MaskFormat.RLE]) for each in found])
