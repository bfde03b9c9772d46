"""The notifier: sends a Celery message that means "there may be work in the store", with a job id for the logs.

A message that is lost, repeated or late changes nothing: workers claim jobs from the store, not from the message, and
deliverers of webhooks do the same. So Celery keeps no results; only the store is durable.

A process takes one message at a time and acknowledges it when it has done all work that was pending. Until then it
takes no other, so a message always reaches a process that is asleep.
"""

from __future__ import annotations

import hashlib
import logging

from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from shared.process.transport import ConsumerTransport, ProducerTransport, transport_options
from shared.settings import RedisSettings
from shared.settings.redis_url import RedisAddress

TASK = "maskq.look"
WEBHOOK_QUEUE = "maskq-webhooks"
"""The Celery queue that deliverers of webhooks consume."""
POLL_S = 1.0
"""How often workers and deliverers look for work without a notification: the longest delay if one is lost."""
_PRODUCER_TIMEOUT_S = 2.0
"""Without this limit, sending to a frozen Redis blocks for as long as Redis is frozen."""

logger = logging.getLogger(__name__)


def queue_name(model_id: str) -> str:
    """The Celery queue that workers of this model consume."""
    return f"maskq.{model_id}"


def celery_app(settings: RedisSettings, queue: str) -> Celery:
    """Make the Celery application of a process that consumes this queue."""
    app = _app(settings, queue)
    options = transport_options(settings, settings.redis_timeout_s)
    app.conf.update(broker_transport=ConsumerTransport, broker_transport_options=options)
    return app


def _app(settings: RedisSettings, queue: str) -> Celery:
    """The transport knows how to connect. The broker's URL only names the ledger, because kombu keeps connections by it
    for all applications of a process."""
    ledger = RedisAddress.parse(settings.redis_url).ledger
    name = hashlib.sha256(ledger.encode()).hexdigest()[:16]
    app = Celery("maskq", broker=f"redis://{name}", set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_default_queue=queue,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_soft_shutdown_timeout=25,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
    )
    return app


class Notifier:
    """Notifies the consumers of a queue. Thread-safe; blocks for about 2 s at most."""

    def __init__(self, settings: RedisSettings) -> None:
        options = transport_options(settings, _PRODUCER_TIMEOUT_S)
        self._app = _app(settings, WEBHOOK_QUEUE)
        self._app.conf.update(broker_transport=ProducerTransport, broker_transport_options=options)

    def notify(self, queue: str, job_id: str) -> None:
        """Notify one consumer of this queue that is asleep. A failure is only logged, because the store has the job."""
        try:
            self._app.send_task(TASK, args=[job_id], queue=queue, retry=False)
        except (OperationalError, RedisError) as error:
            cause = error.__cause__ if isinstance(error.__cause__, RedisError) else error
            logger.warning("no notification for job %s: %s", job_id, type(cause).__name__)

    def close(self) -> None:
        self._app.close()
