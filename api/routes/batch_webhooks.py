"""/batches/{id}/webhooks: read the delivery status of a batch's webhook, and send it again."""

from __future__ import annotations

from fastapi import APIRouter

from api.dependencies import OwnBatch, OwnBatchToChange, ServicesDep, Submitter
from api.http.openapi import problems
from shared.domain.batch import Batch
from shared.domain.views import DeliveryList, DeliveryView
from shared.domain.webhook import WebhookEvent
from shared.errors import BatchNotFound, NothingToDeliver, StoreUnconfirmed
from shared.store.deliveries import DeliveryStore

router = APIRouter(prefix="/batches/{batch_id}/webhooks")


@router.head("", include_in_schema=False)
@router.get("", operation_id="list_batch_deliveries", responses=problems(BatchNotFound))
async def list_deliveries(batch: OwnBatch, services: ServicesDep) -> DeliveryList:
    """The batch's deliveries with their attempts. Empty before the batch has ended, or if it has no webhook."""
    return await _deliveries(services.deliveries, batch)


@router.post(
    "/redeliver",
    operation_id="redeliver_batch_webhook",
    status_code=202,
    responses=problems(BatchNotFound, NothingToDeliver, StoreUnconfirmed),
)
async def redeliver(batch: OwnBatchToChange, services: ServicesDep, caller: Submitter) -> DeliveryList:
    """Send the batch's webhook again, whatever its delivery status: within about a second, with the same `webhook-id`.

    Without the scope read, the answer has no attempts.
    """
    await services.deliveries.redeliver(batch.id)
    found = await _deliveries(services.deliveries, batch)
    return found if caller.may_read else found.without_attempts()


async def _deliveries(store: DeliveryStore, batch: Batch) -> DeliveryList:
    delivery = await store.read(batch.id)
    if batch.webhook is None or delivery is None:
        return DeliveryList(deliveries=[])
    return DeliveryList(deliveries=[DeliveryView.of(delivery, batch.webhook.url, WebhookEvent.BATCH_COMPLETED)])
