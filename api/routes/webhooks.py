"""/jobs/{id}/webhooks: see how the announcement of a job's end fares, and have it sent again."""

from __future__ import annotations

from fastapi import APIRouter

from api.auth.caller import OwnJob, OwnJobToChange
from api.http.openapi import problems
from api.routes.jobs import NOT_FOUND
from api.services import Services, ServicesDep
from shared.domain.job import Job
from shared.domain.views import DeliveryList, DeliveryView
from shared.errors import NothingToDeliver

router = APIRouter(prefix="/jobs/{job_id}/webhooks")


@router.get("", responses=problems(*NOT_FOUND))
async def list_deliveries(state: OwnJob, services: ServicesDep) -> DeliveryList:
    """The job's deliveries with their tries: none before it has ended, or if it has no webhook."""
    return await _deliveries(services, state.job)


@router.post("/redeliver", status_code=202, responses=problems(*NOT_FOUND, NothingToDeliver))
async def redeliver(state: OwnJobToChange, services: ServicesDep) -> DeliveryList:
    """Send the job's webhook again, within about a second and under the same `webhook-id`, whatever became of it."""
    await services.deliveries.redeliver(state.job.id)
    return await _deliveries(services, state.job)


async def _deliveries(services: Services, job: Job) -> DeliveryList:
    delivery = await services.deliveries.read(job.id)
    if job.webhook is None or delivery is None:
        return DeliveryList(deliveries=[])
    return DeliveryList(deliveries=[DeliveryView.of(delivery, job.webhook.url)])
