"""Whether a client takes the answers that are sent to it."""

from __future__ import annotations

SEND_TIMEOUT_S = 30.0
"""Longest time in which a client takes nothing of an answer that waits for it. nginx has the same."""
_LEAST_BYTES = 32_768
"""What counts as something: 1 kB/s. Otherwise a client could take one byte in each period."""


class SendProgress:
    """Watches how many bytes wait to be sent on one connection, until more are added to them."""

    def __init__(self) -> None:
        self._waiting_bytes = 0
        self._since_s = 0.0

    def is_stuck(self, waiting_bytes: int, now_s: float) -> bool:
        """Whether the client has taken too little for too long.

        Args:
            waiting_bytes: what waits now. To be called every second or so.
            now_s: the time, by a monotonic clock.
        """
        had_none = self._waiting_bytes == 0
        if had_none or waiting_bytes == 0 or waiting_bytes <= self._waiting_bytes - _LEAST_BYTES:
            self._waiting_bytes, self._since_s = waiting_bytes, now_s
        return now_s - self._since_s >= SEND_TIMEOUT_S
