"""Who is asked: an engine in this process, or a running service."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import httpx2

from evaluation.example import Question
from shared.domain.job import JobRequest, MaskFormat
from shared.domain.prompt import normalize_prompt
from shared.domain.result import SegmentationResult
from shared.errors import MaskqError
from shared.registry import served_model
from shared.settings import Settings
from worker.stages.mask_vqvae import MaskCodec

Predictor: TypeAlias = Callable[[Question], SegmentationResult]
"""Safe to call from several threads, so that questions share forward passes. Raises `NoPrediction`."""

_TIMEOUT_S = 90.0
_WAIT_S = 30
_PAUSE_S = 1.0
_BUSY = (429, 503)


class NoPrediction(Exception):
    """The question was refused, or its job failed: it will be the same next time. The message says why."""


@contextmanager
def engine_predictor(settings: Settings) -> Iterator[tuple[Predictor, MaskCodec]]:
    """Load the model that `settings` name. Also yields its mask codec.

    Raises:
        ConfigurationError: the model cannot be loaded.
    """
    from worker.build import (  # torch takes seconds to import, and a client needs none
        limited_threads,
        set_up_libraries,
        start_pipeline,
    )
    from worker.loading.checkpoint import load_checkpoint

    set_up_libraries()
    served = served_model(settings.model)
    checkpoint = load_checkpoint(served, settings.checkpoint, settings.model)
    pipeline, _ = start_pipeline(checkpoint, settings.engine, settings.images)

    def answer(question: Question) -> SegmentationResult:
        try:
            prompt = normalize_prompt(question.prompt)
            request = JobRequest(model_id=served.name, prompt=prompt, mask_formats=(MaskFormat.RLE,))
            return pipeline.run(request, question.read_image(), lambda: False).result
        except MaskqError as error:
            raise NoPrediction(error.detail) from error

    try:
        with limited_threads(checkpoint.model):
            yield answer, checkpoint.codec
    finally:
        pipeline.close()


@contextmanager
def service_predictor(url: str, model_id: str | None = None, key: str | None = None) -> Iterator[Predictor]:
    """Ask the service at `url`, as any client does, with an API key if it wants one. Waits while the service is busy.

    What it raises beyond `NoPrediction` is `httpx2.HTTPError`.
    """
    with httpx2.Client(base_url=url, timeout=_TIMEOUT_S, headers=_authorization(key)) as client:

        def answer(question: Question) -> SegmentationResult:
            job = _submit(client, question, {"model_id": model_id} if model_id else {})
            while job["status"] in ("queued", "processing"):
                job = client.get(f"/jobs/{job['id']}", params={"wait": _WAIT_S}).raise_for_status().json()
            if job["status"] != "succeeded":
                raise NoPrediction(f"{job['status']}: {(job['error'] or {}).get('detail', '')}")
            return SegmentationResult.model_validate(job["result"])

        yield answer


def default_model(url: str, key: str | None = None) -> str:
    """The model that the service at `url` asks unless told otherwise: the first of its list.

    Raises:
        httpx2.HTTPError: it does not answer.
    """
    response = httpx2.get(f"{url.rstrip('/')}/models", headers=_authorization(key), timeout=_TIMEOUT_S)
    return str(response.raise_for_status().json()[0]["id"])


def _authorization(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _submit(client: httpx2.Client, question: Question, fields: dict[str, str]) -> dict[str, Any]:
    files = {"image_file": ("image", question.read_image())}
    while True:
        response = client.post("/segment/", data={"prompt": question.prompt, **fields}, files=files)
        if response.status_code not in _BUSY:
            break
        time.sleep(float(response.headers.get("Retry-After", _PAUSE_S)))
    if response.status_code in (400, 413, 415, 422):
        raise NoPrediction(response.json()["detail"])
    job: dict[str, Any] = response.raise_for_status().json()
    return job
