"""/jobs/{id}/webhooks: read the delivery status of a job's webhook, and send it again."""

from __future__ import annotations

from fastapi import APIRouter

from api.dependencies import OWN_JOB_ERRORS, OwnJob, OwnJobToChange, ServicesDep, Submitter
from api.http.openapi import problems
from shared.domain.job import Job
from shared.domain.views import DeliveryList, DeliveryView
from shared.errors import NothingToDeliver
from shared.store.deliveries import DeliveryStore

router = APIRouter(prefix="/jobs/{job_id}/webhooks")


@router.head("", include_in_schema=False)
@router.get("", operation_id="list_deliveries", responses=problems(*OWN_JOB_ERRORS))
async def list_deliveries(state: OwnJob, services: ServicesDep) -> DeliveryList:
    """The job's deliveries with their attempts. Empty before the job has ended, or if it has no webhook."""
    return await _deliveries(services.deliveries, state.job)


@router.post(
    "/redeliver",
    operation_id="redeliver_webhook",
    status_code=202,
    responses=problems(*OWN_JOB_ERRORS, NothingToDeliver),
)
async def redeliver(state: OwnJobToChange, services: ServicesDep, caller: Submitter) -> DeliveryList:
    """Send the job's webhook again, whatever its delivery status: within about a second, with the same `webhook-id`.

    Without the scope read, the answer has no attempts.
    """
    await services.deliveries.redeliver(state.job.id)
    found = await _deliveries(services.deliveries, state.job)
    return found if caller.may_read else found.without_attempts()


async def _deliveries(store: DeliveryStore, job: Job) -> DeliveryList:
    delivery = await store.read(job.id)
    if job.webhook is None or delivery is None:
        return DeliveryList(deliveries=[])
    return DeliveryList(deliveries=[DeliveryView.of(delivery, job.webhook.url)])
