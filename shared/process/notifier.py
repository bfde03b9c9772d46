"""The notifier: a Celery message that says "look into the ledger". It carries a job id for the logs, and nothing else.

A message that is lost, repeated or late changes nothing, because workers take jobs from the store, oldest first, and
not from the message; deliverers of webhooks likewise. So Celery acknowledges early and keeps no results; durability is
the store's business alone.
"""

from __future__ import annotations

import logging

from celery import Celery
from kombu.exceptions import OperationalError

from shared.settings import RedisSettings

TASK = "maskq.look"
WEBHOOK_QUEUE = "maskq-webhooks"
"""The Celery queue on which those who deliver webhooks listen."""
POLL_S = 1.0
"""How often those who were not notified look for work: a lost notification costs so much time at most."""
_PRODUCER_TIMEOUT_S = 2.0
"""Without it, sending to a frozen Redis blocks for as long as Redis is frozen."""

logger = logging.getLogger(__name__)


def queue_name(model_id: str) -> str:
    """The Celery queue on which workers of this model listen."""
    return f"maskq.{model_id}"


def celery_app(settings: RedisSettings, queue: str) -> Celery:
    """Make the Celery application of whoever listens on this queue or, bare of tasks, of whoever rings there."""
    app = Celery("maskq", broker=settings.redis_url, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=False,
        task_default_queue=queue,
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        worker_soft_shutdown_timeout=25,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_timeout": settings.redis_timeout_s,
            "socket_connect_timeout": _PRODUCER_TIMEOUT_S,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    )
    return app


class Notifier:
    """Rings for those who listen. Thread-safe; blocks for about 2 s at the most."""

    def __init__(self, settings: RedisSettings) -> None:
        self._app = celery_app(settings, WEBHOOK_QUEUE)
        self._app.conf.broker_transport_options |= {"socket_timeout": _PRODUCER_TIMEOUT_S}

    def notify(self, queue: str, job_id: str) -> None:
        """Wake one who listens there. A failure is logged and forgotten: the store has the job already."""
        try:
            self._app.send_task(TASK, args=[job_id], queue=queue, retry=False)
        except OperationalError as error:
            logger.warning("the notifier for job %s was not heard: %s", job_id, type(error).__name__)

    def close(self) -> None:
        self._app.close()
