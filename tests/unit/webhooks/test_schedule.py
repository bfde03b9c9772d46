"""The status of a delivery after each response of the receiver."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import httpcore2
import hypothesis.strategies as st
import pytest
from hypothesis import given

from shared.domain.webhook import DeliveryState
from shared.settings import Settings
from webhooks.schedule import verdict_after
from webhooks.sender import ReceiverResponse, retry_after_s

_RETRIES_S = (5.0, 300.0)
_NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
def test_a_response_2xx_means_delivered(code: int) -> None:
    assert verdict_after(ReceiverResponse(code), 0, _RETRIES_S).state is DeliveryState.DELIVERED


@pytest.mark.parametrize("code", [None, 100, 199, 300, 301, 302, 307, 308, 400, 401, 404, 408, 429, 500, 503, 599])
def test_any_other_response_is_attempted_again_until_the_schedule_ends(code: int | None) -> None:
    for attempts, delay_s in enumerate(_RETRIES_S):
        verdict = verdict_after(ReceiverResponse(code), attempts, _RETRIES_S)
        assert verdict.state is DeliveryState.PENDING
        assert delay_s <= verdict.retry_in_s <= 1.1 * delay_s
    assert verdict_after(ReceiverResponse(code), len(_RETRIES_S), _RETRIES_S).state is DeliveryState.FAILED


def test_delays_vary_at_random() -> None:
    assert len({verdict_after(ReceiverResponse(500), 1, _RETRIES_S).retry_in_s for _ in range(20)}) > 1


def test_410_fails_the_delivery_at_once() -> None:
    assert verdict_after(ReceiverResponse(410), 0, _RETRIES_S).state is DeliveryState.FAILED


def test_retry_after_can_lengthen_a_delay_but_not_shorten_it() -> None:
    assert verdict_after(ReceiverResponse(503, retry_after_s=1_000), 0, _RETRIES_S).retry_in_s == 1_000
    assert verdict_after(ReceiverResponse(503, retry_after_s=1), 1, _RETRIES_S).retry_in_s >= 300


def _read_retry_after_s(value: bytes) -> float:
    return retry_after_s(httpcore2.Response(503, headers=[(b"Retry-After", value)]), _NOW_MS)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"0", 0),
        (b"120", 120),
        (b" 7 ", 7),
        (b"-5", 0),
        (b"1.5", 0),
        (b"", 0),
        (b"soon", 0),
        (b"9" * 400, 0),
        ("\u0663".encode(), 0),
        (format_datetime(datetime.fromtimestamp(_NOW_MS / 1000 + 90, UTC), usegmt=True).encode(), 90),
        (b"Wed, 21 Oct 2015 07:28:00 GMT", 0),
        (b"Wed, 21 Oct 99999 07:28:00 GMT", 0),
        (b"Wed, 21 Oct 2015 99999999999:28:00 GMT", 0),
        (b"Wed, 21 Oct 2015 07:28:00 +99999999999999", 0),
        (b"Wed, 99999999999999999999999 Oct 2015 07:28:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: bytes, seconds: float) -> None:
    assert _read_retry_after_s(value) == seconds


_DIGITS = st.integers(0, 10**30).map(str)


@given(st.tuples(*[_DIGITS] * 6).map(lambda each: "Wed, {} Oct {} {}:{}:{} +{}".format(*each).encode()))
def test_a_date_of_any_numbers_is_never_an_error(value: bytes) -> None:
    assert _read_retry_after_s(value) >= 0


@given(st.binary(max_size=60) | st.from_regex(rb"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ \d+:\d+:\d+ [A-Z+\-0-9]+"))
def test_retry_after_is_never_negative_and_never_an_error(value: bytes) -> None:
    assert _read_retry_after_s(value) >= 0


def test_the_schedule_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKQ_WEBHOOK_RETRIES_S", "1, 2.5,")
    assert Settings.of().webhooks.webhook_retries_s == (1, 2.5)
