"""Logs that the store cannot be used: once with the reason, and not with each of the tries, which come every second."""

from __future__ import annotations

import logging

from shared.store.server_faults import reason_of


class FaultLog:
    """The faults of one repeated action. For one thread, or for the tasks of one event loop."""

    def __init__(self, logger: logging.Logger, message: str) -> None:
        """`message` says what is not done meanwhile: `no heartbeat`."""
        self._logger = logger
        self._message = message
        self._reason = ""

    def failed(self, error: Exception) -> None:
        """The action failed with this error, most often of Redis. It is logged if its reason is another than before."""
        reason = reason_of(error)
        if reason != self._reason:
            self._logger.warning("%s, the store does not answer: %s", self._message, reason)
        self._reason = reason

    def succeeded(self) -> None:
        """The action succeeded: the next fault is logged."""
        self._reason = ""
