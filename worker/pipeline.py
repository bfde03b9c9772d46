"""The stages of one job in order: decode, preprocess, model, parse, decode masks, merge, render. Read this file
first. `worker.service` claims the jobs that run through it."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.domain.job import Duplicates, JobRequest
from shared.domain.paligemma import SPATIAL_TOKEN, read_prompt, write_prompt
from shared.domain.result import ImageSize, LeftOutReason, SegmentationResult, Skipped
from shared.domain.tiles import BoxXyxy, choose_tiles, picture_views
from shared.images.sandbox import DecodedImage, DecodingPool
from shared.process.failpoints import failpoint
from worker.engine.engine import Engine
from worker.engine.model_input import ModelInput
from worker.engine.sequence import Answer
from worker.pipeline_result import PipelineResult
from worker.stages.batcher import Batcher
from worker.stages.calibration import Calibration
from worker.stages.mask_vqvae import MAX_BUCKET, MaskCodec
from worker.stages.merge import merge_duplicates, merge_views
from worker.stages.parse import Detection, ParsedAnswer, parse_answer
from worker.stages.place import FoundObject, place
from worker.stages.preprocess import Preprocessor
from worker.stages.render import render_object
from worker.stages.select import left_out, split_by_score

SoftMask = npt.NDArray[np.float32]
"""float32[64, 64] in [-1, 1]."""


_MAX_TILED_JOBS = 4
"""Jobs with tiles in the engine at once. With the most tiles, at 896 px, their pixels take 650 MB. A job without tiles
waits for at most 68 views of them."""
_CANCEL_CHECK_S = 0.1


@dataclass(frozen=True)
class ReadAnswer:
    """What the model wrote about one view."""

    text: str
    parsed: ParsedAnswer
    truncated: bool


class Pipeline:
    """Turns a request and its image into a result. Safe to share between threads: many jobs share the engine."""

    def __init__(
        self,
        decoders: DecodingPool,
        preprocessor: Preprocessor,
        engine: Engine,
        tokenizer: Any,
        codec: MaskCodec,
        calibration: Calibration | None = None,
    ) -> None:
        """Without a calibration, scores are those of the model."""
        self._decoders = decoders
        self._preprocessor = preprocessor
        self._engine = engine
        self._tokenizer = tokenizer
        self._calibration = calibration
        self._tiled = threading.BoundedSemaphore(_MAX_TILED_JOBS)
        self._masks = Batcher[tuple[int, ...], SoftMask](
            lambda codes: list(codec.decode(np.array(codes, np.int32))), MAX_BUCKET, "masks"
        )

    def warm_up(self) -> None:
        """Start a child process that decodes images, and prepare a picture: what the first job would wait for.

        Raises:
            OSError: the child could not start.
        """
        side = self._preprocessor.side
        picture = io.BytesIO()
        Image.new("RGB", (side, side)).save(picture, "JPEG")
        decoded = self._decoders.decode(picture.getvalue(), (side, side))
        self._preprocessor.prepare(decoded.image, write_prompt(["any"]))

    def close(self) -> None:
        """Refuse new jobs, answer those in the engine, and end the child processes that decode images."""
        self._engine.close()
        self._decoders.close()

    def run(
        self, request: JobRequest, image_bytes: bytes, is_canceled: Callable[[], bool], client: str = ""
    ) -> PipelineResult:
        """Run a whole job of this client.

        Raises:
            ImageUnreadable: the image is damaged, or takes too much time or memory to decode.
            PromptTooLong: the prompt has more tokens than the engine allows.
            InferenceFailed: the model failed on it.
            CancelledError: `is_canceled` returned True before the model had finished.
        """
        begin = time.perf_counter()
        side = self._preprocessor.side
        picture = self._decoders.decode(image_bytes, (side, side), request.tiles, client)
        images = (picture.image, *picture.tiles)
        with self._room_for(images, is_canceled):
            inputs = [self._preprocessor.prepare(image, request.prompt) for image in images]
            failpoint("worker.prepared")
            prepared = time.perf_counter()
            answers = self._ask(inputs, is_canceled)
        answered = time.perf_counter()
        failpoint("worker.answered")
        result = self._result(request, picture, [self._read(answer, request.prompt) for answer in answers])
        failpoint("worker.rendered")
        return PipelineResult(
            result,
            model_s=answered - prepared,
            batch_size=max(answer.batch_size for answer in answers),
            preprocess_s=prepared - begin,
            render_s=time.perf_counter() - answered,
        )

    @contextmanager
    def _room_for(self, images: Sequence[Image.Image], is_canceled: Callable[[], bool]) -> Iterator[None]:
        """Wait until these views of a picture may be in the engine.

        Raises:
            CancelledError: `is_canceled` returned True meanwhile.
        """
        if len(images) == 1:
            yield
            return
        while not self._tiled.acquire(timeout=_CANCEL_CHECK_S):
            if is_canceled():
                raise CancelledError
        try:
            yield
        finally:
            self._tiled.release()

    def _ask(self, inputs: list[ModelInput], is_canceled: Callable[[], bool]) -> list[Answer]:
        """The answers of the model to all views of a picture, which share its batches. If one fails, the others are
        dropped."""
        failed = threading.Event()
        try:
            futures = [self._engine.submit(each, lambda: failed.is_set() or is_canceled()) for each in inputs]
            if len(futures) > 1:
                for ended in wait(futures, return_when=FIRST_EXCEPTION).done:
                    ended.result()  # raises at once if a view failed, while others still run
            return [future.result() for future in futures]
        except BaseException:
            failed.set()
            raise

    def _read(self, answer: Answer, prompt: str) -> ReadAnswer:
        """What an answer says."""
        text = self._tokenizer.decode(answer.token_ids, skip_special_tokens=False)
        names = self._tokenizer.convert_ids_to_tokens(answer.token_ids)
        pairs = zip(names, answer.logprobs, strict=True)
        spatial = [logprob for name, logprob in pairs if SPATIAL_TOKEN.fullmatch(name)]
        parsed = parse_answer(text, spatial, phrases=read_prompt(prompt), truncated=answer.truncated)
        return ReadAnswer(text, parsed, answer.truncated)

    def _result(self, request: JobRequest, picture: DecodedImage, answers: list[ReadAnswer]) -> SegmentationResult:
        """One result of the answers to all views, the whole picture first."""
        size = picture.width, picture.height
        views = picture_views(request.tiles, *size)
        found = [self._place(each.parsed, view, size) for each, view in zip(answers, views, strict=True)]
        if request.duplicates is Duplicates.MERGE:
            found = [merge_duplicates(each) for each in found]
        objects, cut = merge_views(found)
        kept, below = split_by_score(objects, request.score_threshold)
        return SegmentationResult(
            image=ImageSize(width=picture.width, height=picture.height),
            objects=[render_object(each, request.mask_formats) for each in kept],
            skipped=[Skipped(reason=part.reason, text=part.text) for each in answers for part in each.parsed.skipped],
            left_out=left_out(below, LeftOutReason.BELOW_THRESHOLD) + left_out(cut, LeftOutReason.CUT_BY_TILE),
            truncated=any(answer.truncated for answer in answers),
            raw_text="\n".join(answer.text for answer in answers),
            tiles=choose_tiles(request.tiles, *size),
            calibrated=self._calibration is not None,
            notes=list(picture.notes),
        )

    def _place(self, parsed: ParsedAnswer, view: BoxXyxy, size: tuple[int, int]) -> list[FoundObject]:
        """The detections of one view in the pixels of the image."""
        soft_masks = self._decode(parsed.detections)
        curve = self._calibration
        scores = [curve.probability(each.score) if curve else None for each in parsed.detections]
        rows = zip(parsed.detections, soft_masks, scores, strict=True)
        return [place(detection, soft, size, view, score) for detection, soft, score in rows]

    def _decode(self, detections: list[Detection]) -> list[SoftMask | None]:
        """A soft mask for each detection with codes, None for the others. Shares batches with other jobs."""
        masks = iter(self._masks.do([detection.codes for detection in detections if detection.codes]))
        return [next(masks) if detection.codes else None for detection in detections]
