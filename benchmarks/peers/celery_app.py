"""Plain Celery: a task for each image, whose result a front end waits for."""

from __future__ import annotations

import base64
import os
import sys
from functools import cache

import uvicorn
from celery import Celery
from fastapi import FastAPI, Form, Response, UploadFile

from benchmarks.peers.plain_model import PlainModel

_URL = os.environ.get("PEERS_REDIS_URL", "")
_TIMEOUT_S = 120

app = Celery(broker=_URL, backend=_URL)


@cache
def _model() -> PlainModel:
    """Loaded once in each process of the worker."""
    return PlainModel()


@app.task(name="segment")  # type: ignore[untyped-decorator]
def segment(prompt: str, image: str) -> str:
    """The objects as JSON. Celery's messages are JSON, so the image is base64."""
    (objects,) = _model().answer([(prompt, base64.b64decode(image))])
    return objects.decode()


def create_front_end() -> FastAPI:
    """An app that sends tasks. Its routes run on threads, which wait for the results."""
    front_end = FastAPI()

    @front_end.post("/predict")
    def predict(prompt: str = Form(), image_file: UploadFile = ...) -> Response:  # type: ignore[assignment]
        image = base64.b64encode(image_file.file.read()).decode()
        objects = segment.delay(prompt, image).get(timeout=_TIMEOUT_S)
        return Response(objects, media_type="application/json")

    return front_end


if __name__ == "__main__":
    uvicorn.run(create_front_end(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
