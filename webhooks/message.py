"""The message of a webhook: Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from standardwebhooks import Webhook as Signer

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
    """The message that the job has ended, signed with each of the secrets (`whsec_…`)."""
    name = message_id(lease.job.id)
    now = datetime.fromtimestamp(lease.claimed_at_ms // 1000, UTC)  # aware: the library signs another for a naive time
    message = WebhookMessage.of(lease.job, lease.webhook.base_url)
    body = message.model_dump_json(exclude={"data": {"result"}})
    headers = {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Signer(secret).sign(name, now, body) for secret in secrets),
    }
    return SignedMessage(headers, body.encode())
