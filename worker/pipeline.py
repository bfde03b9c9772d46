"""The stages of one job in order, one line each: decode, preprocess, model, parse, decode masks, render. Read this file
first. `worker.service` claims the jobs that run through it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from shared.domain.job import JobRequest
from shared.domain.paligemma import SPATIAL_TOKEN, read_prompt
from shared.domain.result import ImageSize, SegmentationResult, Skipped
from shared.images.sandbox import DecodingPool
from shared.process.failpoints import failpoint
from worker.engine.engine import Engine
from worker.engine.sequence import Answer
from worker.pipeline_result import PipelineResult
from worker.stages.batcher import Batcher
from worker.stages.mask_vqvae import MAX_BUCKET, MaskCodec
from worker.stages.parse import Detection, ParsedAnswer, parse_answer
from worker.stages.preprocess import Preprocessor
from worker.stages.render import render_object

SoftMask = npt.NDArray[np.float32]
"""float32[64, 64] in [-1, 1]."""


class Pipeline:
    """Turns a request and its image into a result. Safe to share between threads: many jobs share the engine."""

    def __init__(
        self, decoders: DecodingPool, preprocessor: Preprocessor, engine: Engine, tokenizer: Any, codec: MaskCodec
    ) -> None:
        self._decoders = decoders
        self._preprocessor = preprocessor
        self._engine = engine
        self._tokenizer = tokenizer
        self._masks = Batcher[tuple[int, ...], SoftMask](
            lambda codes: list(codec.decode(np.array(codes, np.int32))), MAX_BUCKET, "masks"
        )

    def close(self) -> None:
        """Refuse new jobs, answer those in the engine, and end the child processes that decode images."""
        self._engine.close()
        self._decoders.close()

    def run(self, request: JobRequest, image_bytes: bytes, is_canceled: Callable[[], bool]) -> PipelineResult:
        """Run a whole job.

        Raises:
            ImageUnreadable: the image is damaged, or takes too much time or memory to decode.
            PromptTooLong: the prompt has more tokens than the engine allows.
            InferenceFailed: the model failed on it.
            CancelledError: `is_canceled` returned True before the model had finished.
        """
        begin = time.perf_counter()
        side = self._preprocessor.side
        picture = self._decoders.decode(image_bytes, (side, side))
        model_input = self._preprocessor.prepare(picture.image, request.prompt)
        failpoint("worker.prepared")
        prepared = time.perf_counter()
        answer = self._engine.submit(model_input, is_canceled).result()
        answered = time.perf_counter()
        failpoint("worker.answered")
        text, parsed = self._parse(answer, request.prompt)
        soft_masks = self._decode(parsed.detections)
        objects = [
            render_object(detection, soft, picture.width, picture.height, request.mask_formats)
            for detection, soft in zip(parsed.detections, soft_masks, strict=True)
        ]
        failpoint("worker.rendered")
        result = SegmentationResult(
            image=ImageSize(width=picture.width, height=picture.height),
            objects=objects,
            skipped=[Skipped(reason=each.reason, text=each.text) for each in parsed.skipped],
            truncated=answer.truncated,
            raw_text=text,
            notes=list(picture.notes),
        )
        return PipelineResult(
            result,
            model_s=answered - prepared,
            batch_size=answer.batch_size,
            preprocess_s=prepared - begin,
            render_s=time.perf_counter() - answered,
        )

    def _parse(self, answer: Answer, prompt: str) -> tuple[str, ParsedAnswer]:
        """The text of the answer, and what it says."""
        text = self._tokenizer.decode(answer.token_ids, skip_special_tokens=False)
        names = self._tokenizer.convert_ids_to_tokens(answer.token_ids)
        pairs = zip(names, answer.logprobs, strict=True)
        spatial = [logprob for name, logprob in pairs if SPATIAL_TOKEN.fullmatch(name)]
        return text, parse_answer(text, spatial, phrases=read_prompt(prompt), truncated=answer.truncated)

    def _decode(self, detections: list[Detection]) -> list[SoftMask | None]:
        """A soft mask for each detection with codes, None for the others. Shares batches with other jobs."""
        masks = iter(self._masks.do([detection.codes for detection in detections if detection.codes]))
        return [next(masks) if detection.codes else None for detection in detections]
