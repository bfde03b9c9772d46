"""The way of a job through a worker, a line a stage. The file to read first."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from shared.faults import fault_point
from shared.images import open_upright
from shared.job import JobRequest
from shared.prompt import things_asked
from shared.result import ImageSize, SegmentationResult, Skipped
from worker.engine.engine import Engine
from worker.engine.runner import Answer
from worker.masks import CODES, MaskCodec
from worker.preprocess import Preprocessor
from worker.render import render_object
from worker.segmentation import Segmentation
from worker.tokens import SPATIAL_TOKEN, Detection, ParsedAnswer, parse_answer


class Pipeline:
    """Turns a request and its image into a result. Safe to share between threads; many jobs meet in the engine."""

    def __init__(
        self, preprocessor: Preprocessor, engine: Engine, tokenizer: Any, codec: MaskCodec, max_pixels: int
    ) -> None:
        self._preprocessor = preprocessor
        self._engine = engine
        self._tokenizer = tokenizer
        self._codec = codec
        self._max_pixels = max_pixels

    def run(self, request: JobRequest, image_bytes: bytes, is_canceled: Callable[[], bool]) -> Segmentation:
        """Do a whole job.

        Raises:
            ImageUnreadable: the image's data is damaged.
            InferenceFailed: the model failed on it.
            CancelledError: `is_canceled` said so before the model was done.
        """
        begin = time.perf_counter()
        image = open_upright(image_bytes, self._max_pixels)
        model_input = self._preprocessor.prepare(image, request.prompt)
        fault_point("worker.prepared")
        prepared = time.perf_counter()
        answer = self._engine.submit(model_input, is_canceled).result()
        answered = time.perf_counter()
        fault_point("worker.answered")
        text, parsed = self._parse(answer, request.prompt)
        soft_masks = self._decode(parsed.detections)
        objects = [
            render_object(detection, soft, image.width, image.height, request.mask_formats)
            for detection, soft in zip(parsed.detections, soft_masks, strict=True)
        ]
        fault_point("worker.rendered")
        result = SegmentationResult(
            image=ImageSize(width=image.width, height=image.height),
            objects=objects,
            skipped=[Skipped(reason=each.reason, text=each.text) for each in parsed.skipped],
            truncated=answer.truncated,
            raw_text=text,
        )
        return Segmentation(
            result,
            model_s=answered - prepared,
            batch_size=answer.batch_size,
            preprocess_s=prepared - begin,
            render_s=time.perf_counter() - answered,
        )

    def _parse(self, answer: Answer, prompt: str) -> tuple[str, ParsedAnswer]:
        """Decode the answer and read it."""
        text = self._tokenizer.decode(answer.token_ids, skip_special_tokens=False)
        names = self._tokenizer.convert_ids_to_tokens(answer.token_ids)
        pairs = zip(names, answer.logprobs, strict=True)
        spatial = [logprob for name, logprob in pairs if SPATIAL_TOKEN.fullmatch(name)]
        return text, parse_answer(text, spatial, things=things_asked(prompt), truncated=answer.truncated)

    def _decode(self, detections: list[Detection]) -> list[np.ndarray[Any, np.dtype[np.float32]] | None]:
        """A soft mask for each detection that has codes, in one batch; None for the others."""
        codes = [detection.codes for detection in detections if detection.codes]
        masks = iter(self._codec.decode(np.array(codes, np.int32).reshape(-1, CODES)))
        return [next(masks) if detection.codes else None for detection in detections]
