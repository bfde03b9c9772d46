"""Secrets that sign webhooks, and their rotation."""

from __future__ import annotations

import pytest
from standardwebhooks import WebhookVerificationError

from shared.domain.job import ANONYMOUS
from shared.settings import Settings
from testing.scripted_receiver import Receiver
from testing.signing_secrets import webhook_secrets
from tests.integration.webhooks.deployment import Deployment

# --- Secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("deliverer")
def test_after_a_rotation_both_secrets_sign(deployment: Deployment, receiver: Receiver, secret: str) -> None:
    fresh, *old = webhook_secrets(deployment.settings, ANONYMOUS, "rotate")
    assert old == [secret]
    deployment.submit_and_finish(receiver.url)
    (received,) = receiver.wait_for(1)
    assert received.verified(fresh) == received.verified(secret)
    assert len(received.headers["webhook-signature"].split()) == 2
    (only,) = webhook_secrets(deployment.settings, ANONYMOUS, "replace")
    deployment.submit_and_finish(receiver.url)
    _, received = receiver.wait_for(2)
    received.verified(only)
    for leaked in (fresh, secret):
        with pytest.raises(WebhookVerificationError):
            received.verified(leaked)


def test_each_owner_has_its_own_secret_and_a_rotated_one_ends_in_time(settings: Settings) -> None:
    without_overlap = settings.replace(webhook_rotation_s=0)
    first, other = webhook_secrets(settings, "ann"), webhook_secrets(settings, "bob")
    assert first == webhook_secrets(settings, "ann") != other
    second = webhook_secrets(settings, "ann", "rotate")
    assert second[1:] == first
    third = webhook_secrets(settings, "ann", "rotate")
    assert third[1:] == second
    assert webhook_secrets(without_overlap, "ann") == third[:1]
    assert webhook_secrets(settings, "bob") == other
