"""GET /models: the models of this deployment."""

from __future__ import annotations

from fastapi import APIRouter

from api.dependencies import ServicesDep
from api.http.openapi import problems
from shared.domain.views import ModelView
from shared.errors import StoreUnavailable

router = APIRouter()


@router.head("/models", include_in_schema=False)
@router.get("/models", operation_id="list_models", responses=problems(StoreUnavailable))
async def list_models(services: ServicesDep) -> list[ModelView]:
    """The models of this deployment, the default first, and the number of live workers for each."""
    return [
        ModelView(
            id=name,
            about=model.entry.about,
            resolution=model.entry.resolution,
            live_workers=await services.store.live_workers(name),
        )
        for name, model in services.models.items()
    ]
