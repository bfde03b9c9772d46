"""The limit on open files is raised, and what does not fit into it is lowered and said."""

from __future__ import annotations

import resource

import pytest

from api.descriptors import settle_descriptors
from shared.settings import Settings


class _Limits:
    """Stands for the limits of the system: the tests must not change those of their process for good."""

    def __init__(self, soft: int, hard: int, most: int | None = None) -> None:
        self.soft, self.hard, self.most = soft, hard, most

    def get(self, _: int) -> tuple[int, int]:
        return self.soft, self.hard

    def set(self, _: int, limits: tuple[int, int]) -> None:
        if self.most is not None and limits[0] > self.most:
            raise ValueError("current limit exceeds maximum limit")
        self.soft = limits[0]


def _settled(monkeypatch: pytest.MonkeyPatch, limits: _Limits, **values: int) -> tuple[int, int]:
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    http = settle_descriptors(Settings.of(**values)).http
    return http.max_connections, http.max_waiters


@pytest.mark.parametrize("hard", [1_048_576, resource.RLIM_INFINITY])
def test_the_limit_is_raised_as_far_as_needed(monkeypatch: pytest.MonkeyPatch, hard: int) -> None:
    limits = _Limits(1_024, hard)
    assert _settled(monkeypatch, limits) == (16_000, 10_000)
    assert limits.soft == 16_256


def test_a_limit_that_is_high_enough_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = _Limits(500_000, 1_000_000)
    assert _settled(monkeypatch, limits, max_connections=50_000) == (50_000, 10_000)
    assert limits.soft == 500_000


@pytest.mark.parametrize(
    ("limits", "connections", "waiters"),
    [
        (_Limits(1_024, 1_024), 768, 576),
        (_Limits(256, 1_024), 768, 576),
        (_Limits(200, 200), 100, 75),
        (_Limits(1_024, resource.RLIM_INFINITY, most=10_240), 768, 576),
    ],
)
def test_what_does_not_fit_is_lowered_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, limits: _Limits, connections: int, waiters: int
) -> None:
    assert _settled(monkeypatch, limits) == (connections, waiters)
    assert f"takes {connections} connections at once instead of MASKQ_MAX_CONNECTIONS=16000" in caplog.text


def test_waiting_requests_leave_connections_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _settled(monkeypatch, _Limits(4_096, 4_096), max_connections=100) == (100, 75)
