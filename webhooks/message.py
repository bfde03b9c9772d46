"""The message of a webhook: Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from standardwebhooks import Webhook as Signer

from shared.domain.batch import Batch
from shared.domain.batch_views import BatchMessage
from shared.domain.views import WebhookMessage
from shared.domain.webhook import message_id
from shared.store.deliveries import DeliveryLease


@dataclass(frozen=True)
class SignedMessage:
    """Headers and body of one attempt. All attempts have the same body and `webhook-id`, but each has its own timestamp
    and signature."""

    headers: dict[str, str]
    body: bytes


def signed_message(lease: DeliveryLease, secrets: Sequence[str]) -> SignedMessage:
    """The message that the job or batch has ended, signed with each of the secrets (`whsec_…`)."""
    name = message_id(lease.subject.id)
    now = datetime.fromtimestamp(lease.claimed_at_ms // 1000, UTC)  # aware: the library signs another for a naive time
    body = _body(lease)
    headers = {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Signer(secret).sign(name, now, body) for secret in secrets),
    }
    return SignedMessage(headers, body.encode())


def _body(lease: DeliveryLease) -> str:
    if isinstance(lease.subject, Batch):
        return BatchMessage.of(lease.subject, lease.webhook.base_url).model_dump_json()
    message = WebhookMessage.of(lease.subject, lease.webhook.base_url)
    return message.model_dump_json(exclude={"data": {"result"}})
