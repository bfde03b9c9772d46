"""The baseline of `benchmarks.api`: the thinnest FastAPI endpoint that takes the uploads of `POST /segment/`.

It reads the form and pushes the image to Redis, and does nothing else.

    python -m benchmarks.thinnest --port 8001
"""

from __future__ import annotations

import argparse
from typing import Annotated
from uuid import uuid4

import uvicorn
from fastapi import FastAPI, Form, UploadFile

from shared.process.environment import load_settings
from shared.store.connection import async_redis

app = FastAPI()
redis = async_redis(load_settings().redis)


@app.get("/livez")
async def live() -> dict[str, str]:
    """Show that the server listens."""
    return {"status": "ok"}


@app.post("/segment/", status_code=202)
async def submit(prompt: Annotated[str, Form()], image_file: UploadFile) -> dict[str, str]:
    """Push the upload. Returns its id."""
    job_id = str(uuid4())
    await redis.set(f"thinnest:{job_id}", await image_file.read(), ex=600)
    await redis.lpush("thinnest", f"{job_id} {prompt}")
    return {"id": job_id}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(app, port=parser.parse_args().port, access_log=False, log_level="warning")
