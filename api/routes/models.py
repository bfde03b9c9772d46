"""GET /models: what can be asked for."""

from __future__ import annotations

from fastapi import APIRouter

from api.http.openapi import problems
from api.services import ServicesDep
from shared.domain.views import ModelView
from shared.errors import StoreUnavailable

router = APIRouter()


@router.get("/models", responses=problems(StoreUnavailable))
async def list_models(services: ServicesDep) -> list[ModelView]:
    """The models this deployment serves, and how many workers serve each right now."""
    return [
        ModelView(
            id=name,
            about=model.entry.about,
            resolution=model.entry.resolution,
            live_workers=await services.store.live_workers(name),
        )
        for name, model in services.models.items()
    ]
