"""A synchronous FastAPI app around the model: one request at a time, one image a batch."""

from __future__ import annotations

import sys
import threading

import uvicorn
from fastapi import FastAPI, Form, Response, UploadFile

from benchmarks.peers.plain_model import PlainModel


def create_app() -> FastAPI:
    """The app, with a model of its own."""
    app, model, turn = FastAPI(), PlainModel(), threading.Lock()

    @app.post("/predict")
    def predict(prompt: str = Form(), image_file: UploadFile = ...) -> Response:  # type: ignore[assignment]
        with turn:
            (objects,) = model.answer([(prompt, image_file.file.read())])
        return Response(objects, media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(create_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
