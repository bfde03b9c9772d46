"""Headers about limits are read as the service writes them, and nonsense is ignored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from maskq.rate_limit import Limit, limits_of, retry_after_s


def _headers(policy: str, state: str) -> dict[str, str]:
    return {"ratelimit-policy": policy, "ratelimit": state}


def test_quota_rate_and_rest_are_read() -> None:
    headers = _headers('"key";q=100;w=10', '"key";r=42;t=6')
    assert limits_of(headers) == {"key": Limit(quota=100, per_s=10, remaining=42)}


def test_of_several_limits_those_with_a_window_count() -> None:
    headers = _headers('"queue";q=1000, "key";q=100;w=10', '"queue";r=0;t=5, "key";r=1;t=9')
    assert set(limits_of(headers)) == {"key"}


@pytest.mark.parametrize(
    "policy", ["", '"key"', '"key";q=0;w=10', '"key";q=5;w=0', "key;q=5;w=1", '"key";q=x;w=1', '"' * 2_000]
)
def test_what_cannot_be_read_is_no_limit(policy: str) -> None:
    assert limits_of(_headers(policy, '"key";r=1;t=9')) == {}


@pytest.mark.parametrize("text", ["", "soon", "-1", "1e9", "\u0661", "9" * 30, "Mon, 99 Foo"])
def test_a_retry_after_that_cannot_be_read_is_none(text: str) -> None:
    assert retry_after_s({"retry-after": text}) is None


def test_retry_after_may_be_seconds_or_a_date() -> None:
    assert retry_after_s({"retry-after": " 12 "}) == 12
    at = datetime.now(UTC) + timedelta(seconds=60)
    assert 55 < (retry_after_s({"retry-after": format_datetime(at, usegmt=True)}) or 0) <= 60
    assert retry_after_s({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
