"""The stages of one job in order: decode, ask the model, parse, decode masks, merge, render. Read this file first.

A job runs through it in a job process (`worker.job_processes`), which asks the model of the worker that started it; in
evaluations it is the process that has the model.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager

from PIL import Image

from shared.domain.job import Duplicates, JobRequest
from shared.domain.paligemma import read_prompt
from shared.domain.result import ImageSize, LeftOutReason, SegmentationResult, Skipped
from shared.domain.tiles import BoxXyxy, choose_tiles, picture_views
from shared.images.sandbox import DecodedImage, DecodingPool
from shared.process.failpoints import failpoint
from worker.model import Model, SoftMask, WrittenAnswer
from worker.pipeline_result import PipelineResult
from worker.stages.calibration import Calibration
from worker.stages.merge import merge_duplicates, merge_views
from worker.stages.parse import Detection, ParsedAnswer, parse_answer
from worker.stages.place import FoundObject, place
from worker.stages.preprocess import to_pixels
from worker.stages.render import render_object
from worker.stages.select import left_out, split_by_score

MAX_TILED_JOBS = 4
"""Jobs with tiles in the engine at once. With the most tiles, at 896 px, their pixels take 160 MB. A job without tiles
waits for at most 68 views of them."""
_CANCEL_CHECK_S = 0.1


class Pipeline:
    """Turns a request and its image into a result. Safe to share between threads: many jobs share the model."""

    def __init__(
        self,
        decoders: DecodingPool,
        model: Model,
        calibration: Calibration | None = None,
        tiled_jobs: int = MAX_TILED_JOBS,
    ) -> None:
        """Without a calibration, scores are those of the model. So many jobs with tiles are in the engine at once."""
        self._decoders = decoders
        self._model = model
        self._calibration = calibration
        self._tiled = threading.BoundedSemaphore(tiled_jobs)

    def close(self) -> None:
        """Refuse new jobs, answer those in the engine, and end the child processes that decode images."""
        self._model.close()
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
        side = self._model.side
        picture = self._decoders.decode(image_bytes, (side, side), request.tiles, client)
        images = (picture.image, *picture.tiles)
        with self._room_for(images, is_canceled):
            views = [to_pixels(image, side) for image in images]
            failpoint("worker.prepared")
            prepared = time.perf_counter()
            answers = self._model.ask(request.prompt, views, is_canceled)
        answered = time.perf_counter()
        failpoint("worker.answered")
        result = self._result(request, picture, answers)
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

    def _result(self, request: JobRequest, picture: DecodedImage, answers: list[WrittenAnswer]) -> SegmentationResult:
        """One result of the answers to all views, the whole picture first."""
        size = picture.width, picture.height
        phrases = read_prompt(request.prompt)
        parsed = [_parse(answer, phrases) for answer in answers]
        found = self._place(parsed, picture_views(request.tiles, *size), size)
        if request.duplicates is Duplicates.MERGE:
            found = [merge_duplicates(each) for each in found]
        objects, cut = merge_views(found)
        kept, below = split_by_score(objects, request.score_threshold)
        return SegmentationResult(
            image=ImageSize(width=picture.width, height=picture.height),
            objects=[render_object(each, request.mask_formats) for each in kept],
            skipped=[Skipped(reason=part.reason, text=part.text) for each in parsed for part in each.skipped],
            left_out=left_out(below, LeftOutReason.BELOW_THRESHOLD) + left_out(cut, LeftOutReason.CUT_BY_TILE),
            truncated=any(answer.truncated for answer in answers),
            raw_text="\n".join(answer.text for answer in answers),
            tiles=choose_tiles(request.tiles, *size),
            calibrated=self._calibration is not None,
            notes=list(picture.notes),
        )

    def _place(
        self, parsed: Sequence[ParsedAnswer], views: Sequence[BoxXyxy], size: tuple[int, int]
    ) -> list[list[FoundObject]]:
        """The detections of each view in the pixels of the image."""
        detections = [each for answer in parsed for each in answer.detections]
        soft_masks = iter(self._decode(detections))

        def placed(detection: Detection, view: BoxXyxy) -> FoundObject:
            curve = self._calibration
            score = curve.probability(detection.score) if curve else None
            return place(detection, next(soft_masks), size, view, score)

        pairs = zip(parsed, views, strict=True)
        return [[placed(detection, view) for detection in answer.detections] for answer, view in pairs]

    def _decode(self, detections: list[Detection]) -> list[SoftMask | None]:
        """A soft mask for each detection with codes, None for the others."""
        codes = [detection.codes for detection in detections if detection.codes]
        masks = iter(self._model.decode_masks(codes) if codes else ())
        return [next(masks) if detection.codes else None for detection in detections]


def _parse(answer: WrittenAnswer, phrases: Sequence[str]) -> ParsedAnswer:
    return parse_answer(answer.text, answer.spatial_logprobs, phrases=phrases, truncated=answer.truncated)
