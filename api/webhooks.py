"""/jobs/{id}/webhooks: see how the announcement of a job's end fares, and have it sent again."""

from __future__ import annotations

from fastapi import APIRouter

from api.jobs import JobId
from api.services import Services, ServicesDep
from shared.job import Job
from shared.wire import DeliveryList, DeliveryView

router = APIRouter(prefix="/jobs/{job_id}/webhooks")


@router.get("")
async def list_deliveries(job_id: JobId, services: ServicesDep) -> DeliveryList:
    """The job's deliveries with their tries: none before it has ended, or if it has no webhook."""
    return await _deliveries(services, await services.store.record(job_id))


@router.post("/redeliver", status_code=202)
async def redeliver(job_id: JobId, services: ServicesDep) -> DeliveryList:
    """Send the job's webhook again, within about a second and under the same `webhook-id`, whatever became of it."""
    job = await services.store.record(job_id)
    await services.deliveries.redeliver(job_id)
    return await _deliveries(services, job)


async def _deliveries(services: Services, job: Job) -> DeliveryList:
    delivery = await services.deliveries.read(job.id)
    if job.webhook is None or delivery is None:
        return DeliveryList(deliveries=[])
    return DeliveryList(deliveries=[DeliveryView.of(delivery, job.webhook.url)])
