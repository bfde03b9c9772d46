"""A predictor that sends examples to a running service over HTTP, as any client does."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from evaluation.example import Example
from evaluation.metrics import Metrics
from evaluation.predictions import Setup
from evaluation.predictor import NoPrediction, Predictor, options_for
from evaluation.run import IN_FLIGHT, evaluate
from shared.domain.result import SegmentationResult
from shared.domain.tiles import AUTO

_TIMEOUT_S = 90.0
_WAIT_S = 30
_PAUSE_S = 1.0
_BUSY = (429, 503)


@dataclass(frozen=True)
class Service:
    """A running service, and the model that it should use."""

    url: str
    model_id: str | None = None
    """None for the service's default model."""
    api_key: str | None = None

    @property
    def name(self) -> str:
        """Name of this predictor. It has no URL: a service may move, but its model stays the same."""
        return f"service, {self.model_id or 'its default model'}"

    @property
    def headers(self) -> dict[str, str]:
        """HTTP headers of every request."""
        return {"Authorization": f"Bearer {self.api_key}"} if self.api_key else {}


@contextmanager
def http_predictor(service: Service, tiles: str = AUTO) -> Iterator[Predictor]:
    """Open a connection. The predictor waits while the service is busy (429 or 503).

    Raises:
        httpx2.HTTPError: from the predictor, for all failures other than `NoPrediction`.
    """
    with httpx2.Client(base_url=service.url, timeout=_TIMEOUT_S, headers=service.headers) as client:

        def predict(example: Example) -> SegmentationResult:
            model = {"model_id": service.model_id} if service.model_id else {}
            job = _submit(client, example, {**model, **options_for(example, tiles)})
            while job["status"] in ("queued", "processing"):
                job = client.get(f"/jobs/{job['id']}", params={"wait": _WAIT_S}).raise_for_status().json()
            if job["status"] != "succeeded":
                raise NoPrediction(f"{job['status']}: {(job['error'] or {}).get('detail', '')}")
            return SegmentationResult.model_validate(job["result"])

        yield predict


def default_model(service: Service) -> str:
    """The model that the service uses by default: the first of its list.

    Raises:
        httpx2.HTTPError: the service cannot be reached, or returns an error.
    """
    response = httpx2.get(f"{service.url.rstrip('/')}/models", headers=service.headers, timeout=_TIMEOUT_S)
    return str(response.raise_for_status().json()[0]["id"])


def evaluate_service(
    examples: Sequence[Example],
    dataset: str,
    service: Service,
    folder: Path,
    in_flight: int = IN_FLIGHT,
    tiles: str = AUTO,
    *,
    with_calibration: bool = False,
) -> Metrics:
    """Evaluate a running service; see `evaluate`.

    Raises:
        DataError: the data set is not in its format, or the folder holds another evaluation.
        httpx2.HTTPError: the service cannot be reached, or returns an error.
    """
    with http_predictor(service, tiles) as predictor:
        setup = Setup(dataset=dataset, predictor=service.name)
        return evaluate(examples, setup, predictor, folder, in_flight, with_calibration=with_calibration)


def _submit(client: httpx2.Client, example: Example, fields: dict[str, str]) -> dict[str, Any]:
    files = {"image_file": ("image", example.read_image())}
    while True:
        response = client.post("/segment/", data={"prompt": example.prompt, **fields}, files=files)
        if response.status_code not in _BUSY:
            break
        time.sleep(float(response.headers.get("Retry-After", _PAUSE_S)))
    if response.status_code in (400, 413, 415, 422):
        raise NoPrediction(response.json()["detail"])
    job: dict[str, Any] = response.raise_for_status().json()
    return job
