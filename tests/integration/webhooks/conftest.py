"""A front end, a store and a deliverer. The test takes the role of the worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.domain.job import ANONYMOUS
from shared.settings import Settings
from testing.scripted_receiver import Receiver
from testing.servers import front_end
from testing.signing_secrets import webhook_secrets
from tests.integration.webhooks.deployment import LEASE_S, TIMEOUT_S, Deployment
from webhooks.app import DelivererThread


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with short delays; receivers may be on loopback."""
    return settings.replace(
        url_allow_http=True,
        url_allow_private=True,
        allowed_hosts="*",
        webhook_timeout_s=TIMEOUT_S,
        webhook_retries_s=(0.1, 0.2, 0.3),
        restart_grace_s=0,
        heartbeat_s=0.2,
        give_up_s=0.4,
        lease_s=LEASE_S,
    )


@pytest.fixture
def deployment(settings: Settings) -> Iterator[Deployment]:
    with front_end(settings) as url:
        deployment = Deployment(settings, url)
        yield deployment
        deployment.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes deliverers in this process poll often, because nothing notifies them."""
    monkeypatch.setattr("webhooks.deliverer.POLL_S", 0.05)


@pytest.fixture
def deliverer(settings: Settings, deployment: Deployment) -> Iterator[DelivererThread]:
    deliverer = DelivererThread(settings)
    yield deliverer
    deliverer.stop()


@pytest.fixture
def secret(settings: Settings) -> str:
    return webhook_secrets(settings, ANONYMOUS)[0]
