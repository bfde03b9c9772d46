"""A webhook as it goes over the wire: Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks."""

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
    """What one try sends. Body and `webhook-id` are the same on every try; timestamp and signature are not."""

    headers: dict[str, str]
    body: bytes


def signed_message(lease: DeliveryLease, secrets: Sequence[str]) -> SignedMessage:
    """Announce the end of the job, signed with each of the secrets, `whsec_…`."""
    name = message_id(lease.job.id)
    now = datetime.fromtimestamp(lease.claimed_at_ms // 1000, UTC)  # aware: of a naive time the library signs another
    message = WebhookMessage.of(lease.job, lease.webhook.base_url)
    body = message.model_dump_json(exclude={"data": {"result"}})
    headers = {
        "Content-Type": "application/json",
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Signer(secret).sign(name, now, body) for secret in secrets),
    }
    return SignedMessage(headers, body.encode())
