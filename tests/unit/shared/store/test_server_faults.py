"""Which errors of Redis end by themselves, and how both kinds are explained."""

from __future__ import annotations

import pytest
from redis.exceptions import AuthenticationError, BusyLoadingError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.store.server_faults import reason_of, require_healing

_SETTINGS = Settings.of(redis_url="redis://maskq:hunter2@redis:6380/0").redis


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BusyLoadingError("Redis is loading the dataset in memory"), "it is loading its data"),
        (RedisTimeoutError("Timeout reading from socket"), "no answer in time"),
        (RedisConnectionError("Connection closed by server."), "it closed the connection"),
        (ResponseError("MISCONF Errors writing to the AOF file"), "it cannot write to its disk (MISCONF)"),
    ],
)
def test_an_error_that_may_end_is_waited_for(error: RedisError, reason: str) -> None:
    require_healing(error, _SETTINGS)
    assert reason_of(error) == reason


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("invalid username-password pair or user is disabled."),
        AuthenticationError("Authentication required."),
        NoPermissionError("this user has no permissions to run the 'info' command"),
        ResponseError("DB index is out of range"),
    ],
)
def test_an_error_that_cannot_end_is_a_wrong_configuration_without_the_password(error: RedisError) -> None:
    with pytest.raises(ConfigurationError) as refused:
        require_healing(error, _SETTINGS)
    assert refused.value.detail.startswith("REDIS_URL: the server at redis:6380 ")
    assert "hunter2" not in refused.value.detail
