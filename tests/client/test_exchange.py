"""A request is repeated when that may help, and no longer than the caller wants."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pytest
from maskq.errors import ConnectionFailed, InvalidField, RequestError, ServerBusy
from maskq.exchange import Exchange
from maskq.steps import SUBMIT, Answer, NoAnswer, Request

from tests.client.drive import VirtualTime

_OK = Answer(200, {}, b"{}")
_CUT = NoAnswer("the connection broke")
_REQUEST = Request("POST", "/segment/", kind=SUBMIT)


def _refusal(status: int, code: str = "server_busy", **headers: str) -> Answer:
    return Answer(status, headers, f'{{"type": "{code}", "title": "A title", "detail": "why"}}'.encode())


def _scripted(replies: Iterable[Answer | NoAnswer], retry_for_s: float = 120) -> tuple[VirtualTime, Exchange]:
    remaining = iter(replies)
    time = VirtualTime(lambda request: next(remaining))
    return time, Exchange(retry_for_s, time.clock)


@pytest.mark.parametrize("failure", [_CUT, *(_refusal(status) for status in (408, 429, 502, 503, 504))])
def test_what_may_pass_is_repeated(failure: Answer | NoAnswer) -> None:
    time, exchange = _scripted([failure, failure, _OK])
    assert time.run(exchange.answer(_REQUEST)) == _OK
    assert [request for _, request in time.sent] == [_REQUEST] * 3


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 409, 410, 413, 415, 422, 500])
def test_what_does_not_pass_is_not_repeated(status: int) -> None:
    time, exchange = _scripted([_refusal(status)])
    with pytest.raises(RequestError):
        time.run(exchange.answer(_REQUEST))
    assert len(time.sent) == 1


def test_a_certificate_that_is_not_trusted_is_no_reason_to_try_again() -> None:
    time, exchange = _scripted([NoAnswer("CERTIFICATE_VERIFY_FAILED", is_final=True)])
    with pytest.raises(ConnectionFailed):
        time.run(exchange.answer(_REQUEST))


@pytest.mark.parametrize(("header", "least_s", "most_s"), [("7", 7, 7.7), ("0", 0, 0)])
def test_the_service_says_when_to_come_back(header: str, least_s: float, most_s: float) -> None:
    time, exchange = _scripted([_refusal(503, **{"retry-after": header}), _OK])
    time.run(exchange.answer(_REQUEST))
    assert least_s <= time.sent[1][0] - time.sent[0][0] <= most_s


def test_pauses_grow_and_stay_bounded() -> None:
    time, exchange = _scripted([_OK, *[_CUT] * 12, _OK])
    time.run(exchange.answer(_REQUEST))
    time.run(exchange.answer(_REQUEST))
    moments = [at for at, _ in time.sent[1:]]
    pauses = [after - before for before, after in pairwise(moments)]
    assert pauses[0] <= 0.25
    assert 4 <= pauses[-1] <= 8


@pytest.mark.parametrize("failure", [_CUT, _refusal(503)])
def test_after_the_time_for_repetitions_the_last_failure_is_raised(failure: Answer | NoAnswer) -> None:
    time, exchange = _scripted([_OK, *[failure] * 100], retry_for_s=60)
    time.run(exchange.answer(_REQUEST))
    begin = time.now
    with pytest.raises((ConnectionFailed, ServerBusy)):
        time.run(exchange.answer(_REQUEST))
    assert 45 <= time.now - begin <= 60


def test_a_pause_that_would_be_too_long_is_not_made() -> None:
    time, exchange = _scripted([_refusal(503, **{"retry-after": "3600"})])
    with pytest.raises(ServerBusy):
        time.run(exchange.answer(_REQUEST))
    assert time.now == 1_000.0


def test_nothing_is_repeated_if_the_caller_says_so() -> None:
    time, exchange = _scripted([_CUT], retry_for_s=0)
    with pytest.raises(ConnectionFailed):
        time.run(exchange.answer(_REQUEST))


def test_a_service_that_never_answered_is_not_waited_for_as_long() -> None:
    time, exchange = _scripted([_CUT] * 100)
    with pytest.raises(ConnectionFailed):
        time.run(exchange.answer(_REQUEST))
    assert time.now - 1_000 <= 10


def test_after_429_all_requests_of_the_kind_wait_and_others_do_not() -> None:
    time, exchange = _scripted([_OK, _OK])
    operation = exchange.answer(_REQUEST)
    operation.send(None)
    operation.send(_refusal(429, **{"retry-after": "9"}))
    time.run(exchange.answer(Request("GET", "/models")))
    assert time.now == 1_000.0
    other = exchange.answer(_REQUEST)
    assert other.send(None).seconds >= 9  # type: ignore[union-attr]


def test_a_refusal_has_all_that_the_service_said() -> None:
    problem = _refusal(422, "invalid_field", **{"x-request-id": "abc"})
    time, exchange = _scripted([problem])
    with pytest.raises(InvalidField) as caught:
        time.run(exchange.answer(_REQUEST))
    error = caught.value
    assert (error.status, error.type, error.title, error.detail, error.request_id) == (
        422,
        "invalid_field",
        "A title",
        "why",
        "abc",
    )


def test_waiting_for_the_own_turn_is_no_failure() -> None:
    slow = {"ratelimit-policy": '"submit";q=10;w=60', "ratelimit": '"submit";r=9;t=6', "retry-after": "1"}
    time, exchange = _scripted([*[_refusal(429, **slow)] * 20, _OK], retry_for_s=60)
    many = Request("POST", "/batches", kind=SUBMIT, cost=200)
    assert time.run(exchange.answer(many)) == _OK
    assert 20 * 50 < time.now - 1_000 < 20 * 70
