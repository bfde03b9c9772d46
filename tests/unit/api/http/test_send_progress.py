"""When a client counts as one that does not take its answers."""

from __future__ import annotations

from api.http.send_progress import SEND_TIMEOUT_S, SendProgress


def _stuck_after_s(*waiting_bytes: int) -> int | None:
    """The second in which a client is found stuck, of whose answers so many bytes wait in each second."""
    progress = SendProgress()
    return next((now for now, waiting in enumerate(waiting_bytes) if progress.is_stuck(waiting, float(now))), None)


def test_a_client_that_takes_nothing_is_stuck() -> None:
    assert _stuck_after_s(*[1_000_000] * 100) == SEND_TIMEOUT_S


def test_so_is_one_for_which_ever_more_waits() -> None:
    assert _stuck_after_s(*range(100, 200)) == SEND_TIMEOUT_S


def test_so_is_one_that_takes_a_byte_each_second() -> None:
    assert _stuck_after_s(*range(1_000_000, 999_900, -1)) == SEND_TIMEOUT_S


def test_a_slow_client_is_not_stuck() -> None:
    assert _stuck_after_s(*range(1_000_000, 0, -2_000)) is None


def test_a_client_for_which_nothing_waits_is_not_stuck() -> None:
    assert _stuck_after_s(*[0] * 100) is None


def test_the_time_begins_anew_with_each_answer() -> None:
    assert _stuck_after_s(*[5_000] * 20, 0, *[5_000] * 20, 0) is None
