"""Celery's connections to Redis: made by `shared.store.connection` like all others, and patient.

kombu would read the URL itself, and then neither verify a certificate nor know our timeouts. It also takes most errors
of a server for faults of the program, and Celery ends the process for them.
"""

from __future__ import annotations

import time
from typing import Any

from celery.worker.state import maybe_shutdown
from kombu.transport import redis as kombu_redis
from redis.exceptions import RedisError

from shared.settings import RedisSettings
from shared.store.connection import connection_class, connection_options
from shared.store.durability import require_writable

_RETRY_S = 0.5


class _Channel(kombu_redis.Channel):
    """Connects as `transport_options` says."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        try:
            require_writable(self.client)
        except RedisError:
            self.close()
            raise

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        settings: RedisSettings = self.connection.client.transport_options["redis"]
        self.connection_class = connection_class(settings)
        made = super()._connparams(asynchronous)["connection_class"]  # tells the event loop when it disconnects
        timeout_s = self.connection.client.transport_options["timeout_s"]
        timeouts = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
        return {**connection_options(settings), **timeouts, "connection_class": made}


class ProducerTransport(kombu_redis.Transport):
    """For processes that send messages. Every error of the server is a lost connection: the next message connects."""

    Channel = _Channel
    connection_errors = (*kombu_redis.Transport.connection_errors, RedisError)


class ConsumerTransport(ProducerTransport):
    """For processes that receive messages. Waits for a server that takes no commands now, so that Celery goes on
    within a second of its return."""

    def establish_connection(self) -> Any:
        while True:
            try:
                return super().establish_connection()
            except self.connection_errors:
                maybe_shutdown()
                time.sleep(_RETRY_S)


def transport_options(settings: RedisSettings, timeout_s: float) -> dict[str, Any]:
    """Options of both transports. Messages need no acknowledgement in Redis, because a lost one changes nothing. They
    have no priorities, so a queue is one list."""
    return {
        "redis": settings,
        "timeout_s": timeout_s,
        "ack_emulation": False,
        "priority_steps": [0],
        "health_check_interval": 10,
    }
