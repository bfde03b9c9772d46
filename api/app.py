"""The front end: `uvicorn --factory api.app:create_app`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from api import health, index, jobs, models, segment
from api.intake import max_body_bytes
from api.limits import BodyLimit
from api.problems import add_problem_handlers
from api.services import running_services
from shared.settings import Settings, load_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application. Settings come from the environment unless given."""
    settings = settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running_services(settings) as app.state.services:
            yield

    app = FastAPI(title="maskq", summary="Cuts objects out of images by name.", lifespan=lifespan)
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes(settings))
    add_problem_handlers(app)
    for room in (segment, jobs, models, health, index):
        app.include_router(room.router)
    return app
