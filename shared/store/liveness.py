"""When a worker or deliverer counts as alive."""

from __future__ import annotations

from shared.settings import LivenessSettings

_MISSED_HEARTBEATS = 3
"""A process that missed this many heartbeats counts as gone."""


def liveness_window_s(settings: LivenessSettings) -> float:
    """Seconds for which a worker or deliverer counts as alive after its last heartbeat."""
    return _MISSED_HEARTBEATS * settings.heartbeat_s
