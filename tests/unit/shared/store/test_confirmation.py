"""Which commands wait for replicas, and what their replies say."""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ResponseError

from shared.errors import StoreUnconfirmed
from shared.settings import Settings
from shared.store.confirmation import Confirmation

_MADE = [b"the reply of the script", True]
_UNKNOWN = ResponseError("unknown command 'WAITAOF', with args beginning with: '1' '2' '500' ")
_NO_AOF = ResponseError("WAITAOF cannot be used when numlocal is set but appendonly is disabled.")


@pytest.fixture
def confirmation() -> Confirmation:
    return Confirmation(Settings.of(confirm_replicas=2, redis_timeout_s=1).redis)


def test_the_server_answers_before_the_connection_gives_up(confirmation: Confirmation) -> None:
    assert confirmation.commands == [("SET", "maskq:confirmed", ""), ("WAIT", 2, 250), ("WAITAOF", 1, 2, 500)]


@pytest.mark.parametrize("waited", [[1, 2], [1, 3], 2])
def test_a_change_is_confirmed_by_enough_replicas(confirmation: Confirmation, waited: Any) -> None:
    assert confirmation.is_given([*_MADE, waited])


@pytest.mark.parametrize("waited", [[1, 1], [0, 2], [1, 0], 1, 0])
def test_a_change_is_not_confirmed_by_fewer_nor_without_the_disk_of_the_primary(
    confirmation: Confirmation, waited: Any
) -> None:
    with pytest.raises(StoreUnconfirmed):
        confirmation.is_given([*_MADE, waited])


@pytest.mark.parametrize("lacking", [_UNKNOWN, _NO_AOF])
def test_a_server_without_waitaof_is_asked_with_wait_by_all_that_wait(
    confirmation: Confirmation, lacking: ResponseError
) -> None:
    assert not confirmation.is_given([*_MADE, lacking])
    assert confirmation.commands[-1] == ("WAIT", 2, 500)
    assert not confirmation.is_given([*_MADE, lacking])  # of a request that was on its way
    assert confirmation.is_given([*_MADE, 2])


@pytest.mark.parametrize(
    "replies",
    [
        [ResponseError("OOM"), True, [1, 2]],
        [b"", ResponseError("OOM"), [1, 2]],
        [b"", True, ResponseError("UNBLOCKED force unblock")],
    ],
)
def test_an_error_of_the_server_is_raised(confirmation: Confirmation, replies: list[Any]) -> None:
    with pytest.raises(ResponseError):
        confirmation.is_given(replies)


@pytest.mark.parametrize(
    ("replication", "present"),
    [
        ({"role": "master", "connected_slaves": 0}, 0),
        ({"slave0": {"state": "online", "lag": 0}, "slave1": {"state": "online", "lag": 1}}, 2),
        ({"slave0": {"state": "online", "lag": 2}}, 0),
        ({"slave0": {"state": "wait_bgsave", "lag": 0}}, 0),
        ({"slave0": {"state": "online", "lag": 0}, "slave_repl_offset": 7, "slave10": {"state": "online"}}, 2),
    ],
)
def test_replicas_that_have_said_lately_that_they_follow_are_present(
    confirmation: Confirmation, replication: dict[str, Any], present: int
) -> None:
    assert confirmation.present(replication) == present
