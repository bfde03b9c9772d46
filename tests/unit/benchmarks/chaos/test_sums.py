"""Several chaos runs as one."""

from __future__ import annotations

from benchmarks.chaos.sums import sums


def test_counts_are_added_and_of_times_the_greatest_is_kept() -> None:
    first = {"accepted": 3, "longest_s": 1.5, "faults": {"killed": 2}, "waits_s": [3.0, 1.0]}
    second = {"accepted": 4, "longest_s": 0.5, "faults": {"killed": 1, "frozen": 1}, "waits_s": [2.0], "more": None}
    assert sums([first, second]) == {
        "accepted": 7,
        "longest_s": 1.5,
        "faults": {"killed": 3, "frozen": 1},
        "waits_s": {"count": 3, "p50": 2.0, "greatest": 3.0},
        "more": None,
    }


def test_a_list_without_numbers_has_no_median() -> None:
    assert sums([{"waits_s": []}]) == {"waits_s": {"count": 0}}
