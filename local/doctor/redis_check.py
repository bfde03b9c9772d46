"""Examines the server of REDIS_URL: whether it can be used, keeps what it accepts, and has room."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from local.doctor.finding import Finding, gigabytes, ok, problem, warning
from shared.errors import ConfigurationError
from shared.settings import RedisSettings
from shared.settings.redis_url import RedisAddress
from shared.store.confirmation import wait_command
from shared.store.connection import address_of, sync_redis
from shared.store.durability import ServerCheck, durability_faults
from shared.store.promise import Promise
from shared.store.rights import Process, named_rights
from shared.store.server_faults import reason_of

_AREA = "redis"
_PINGS = 20
_SLOW_S = 0.005
_MIN_VERSION = 7
_SKEW_S = 2.0
_FILLING, _FULL = 0.7, 0.8
"""Shares of the memory limit: an alert is raised at the first, and jobs are refused from the second on."""


def examine_redis(settings: RedisSettings) -> Iterator[Finding]:
    """Report on the server. If it is away, that is the only finding."""
    where = address_of(settings)
    check = ServerCheck(settings.model_copy(update={"allow_data_loss": True}))  # what it finds is reported below
    try:
        check.check()
    except ConfigurationError as error:
        yield problem(_AREA, error.detail, "Change REDIS_URL or the server")
        return
    except ResponseError as error:
        yield problem(_AREA, f"the server at {where} cannot be used now: {reason_of(error)}", "Change the server")
    except RedisError as error:
        yield problem(_AREA, f"no server at {where}: {reason_of(error)}", "Start it, or change REDIS_URL")
        return
    finally:
        check.close()
    with sync_redis(settings, decode_responses=True) as redis:
        info: dict[str, Any] = redis.info()
        yield _version(info, where, _latency_s(redis))
        yield _encryption(settings)
        yield from _rights(settings)
        yield from _configuration(_config(redis), settings)
        yield from _state(info)
        if info["role"] == "master":
            yield from _promise(redis, settings)
        yield _clock(redis)


def _encryption(settings: RedisSettings) -> Finding:
    address = RedisAddress.parse(settings.redis_url)
    if address.is_tls:
        return ok(_AREA, "TLS: its certificate and host name are trusted")
    text = f"no TLS: what is sent to {address.place} can be read on the way"
    if all(_is_near(endpoint.host) for endpoint in address.endpoints):
        return ok(_AREA, text)
    return warning(_AREA, text, "Use rediss:// unless the network is closed")


def _is_near(host: str) -> bool:
    """Whether a host is this machine, or has the name of a neighbour in the same network."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host


def _rights(settings: RedisSettings) -> Iterator[Finding]:
    """For each kind of process, whether this user could be its. With a user for each kind, one is enough."""
    with sync_redis(settings) as redis:
        missing = {process.value.name: process.value.missing(redis) for process in Process}
    able = [name for name, rights in missing.items() if not rights]
    if able:
        yield ok(_AREA, f"its user has the rights of a {', a '.join(able)}")
    for name, rights in missing.items():
        if rights:
            level = warning if able else problem
            yield level(_AREA, f"its user lacks rights of a {name}: {named_rights(rights)}", "See deploy/redis/users")


def _latency_s(redis: Redis) -> float:
    return median(_ping_s(redis) for _ in range(_PINGS))


def _ping_s(redis: Redis) -> float:
    start = time.perf_counter()
    redis.ping()
    return time.perf_counter() - start


def _version(info: Mapping[str, Any], where: str, latency_s: float) -> Finding:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version", info["redis_version"]))
    text = f"{name} {version} at {where} answers in {latency_s * 1000:.1f} ms"
    if int(version.partition(".")[0]) < _MIN_VERSION:
        return problem(_AREA, text, f"Upgrade it: maskq needs Redis {_MIN_VERSION} or newer, or Valkey")
    if latency_s > _SLOW_S:
        return warning(_AREA, text, "Each job takes several commands: bring the server nearer, or see LATENCY DOCTOR")
    return ok(_AREA, text)


def _config(redis: Redis) -> dict[str, str]:
    """What CONFIG GET shows; nothing if this user may not see it."""
    names = ("appendonly", "appendfsync", "maxmemory-policy", "min-replicas-to-write")
    try:
        return {str(name): str(value) for name, value in redis.config_get(*names).items()}
    except ResponseError:
        return {}


def _configuration(config: Mapping[str, str], settings: RedisSettings) -> Iterator[Finding]:
    if not config:
        yield warning(_AREA, "its configuration is hidden", "Make sure that it has AOF and never evicts keys")
        return
    faults = durability_faults(config)
    for fault in faults:
        level = warning if settings.allow_data_loss else problem
        yield level(_AREA, fault, "Change it in the configuration of the server")
    if not faults:
        yield ok(_AREA, "it keeps what it accepts: AOF is on, and nothing is evicted")
    fsync = config.get("appendfsync", "")
    if fsync == "always":
        yield ok(_AREA, "appendfsync is always: an accepted job is on disk")
    else:
        lost = "a second of" if fsync == "everysec" else "half a minute of"
        yield warning(_AREA, f"appendfsync is {fsync}: a power cut loses up to {lost} jobs", "Set it to always")


def _state(info: Mapping[str, Any]) -> Iterator[Finding]:
    yield _memory(info["used_memory"], info["maxmemory"])
    if info.get("aof_last_write_status", "ok") != "ok" or info.get("aof_last_bgrewrite_status", "ok") != "ok":
        yield problem(_AREA, "it could not write its AOF", "Is its disk full? Its log has the reason")
    if info["role"] != "master":
        yield problem(_AREA, "it is a replica, which takes no writes", "Name its primary in REDIS_URL")
        return
    replicas, wanted = info["connected_slaves"], info.get("min_slaves_good_slaves", info["connected_slaves"])
    if wanted < replicas:
        yield warning(_AREA, f"of {replicas} connected replicas {wanted} keep up", "See INFO replication")
    if not replicas:
        yield ok(_AREA, "no replica: jobs survive with the disk of this server only")


def _promise(redis: Redis, settings: RedisSettings) -> Iterator[Finding]:
    """What a client can rely on once its job is accepted, and what is missing for more."""
    confirmed = settings.confirm_replicas
    try:
        wait = wait_command(redis) if confirmed else ""
    except RedisError as error:
        yield problem(_AREA, f"its user may not wait for replicas: {reason_of(error)}", "See deploy/redis/users")
        return
    if confirmed and not wait:
        yield problem(_AREA, "it has no command WAIT", "Set MASKQ_CONFIRM_REPLICAS=0, or change the server")
        return
    promise = Promise.read(redis, confirmed, wait)
    yield ok(_AREA, f"{promise}; min-replicas-to-write is {promise.min_replicas}")
    for gap in promise.gaps():
        yield warning(_AREA, gap, "See docs/durability.md, Replicas")


def _memory(used: int, limit: int) -> Finding:
    if not limit:
        advice = "Set it below the memory of its machine, or the system kills it when that is full"
        return warning(_AREA, f"it uses {gigabytes(used)} and has no maxmemory", advice)
    text = f"it uses {gigabytes(used)} of {gigabytes(limit)}"
    advice = "Jobs are refused from 80% on: raise maxmemory, set MASKQ_IMAGE_STORE, or keep results for less time"
    if used < _FILLING * limit:
        return ok(_AREA, text)
    return (problem if used >= _FULL * limit else warning)(_AREA, text, advice)


def _clock(redis: Redis) -> Finding:
    before = time.time()
    seconds, microseconds = redis.time()
    skew_s = (before + time.time()) / 2 - (seconds + microseconds / 1e6)
    if abs(skew_s) < _SKEW_S:
        return ok("clock", f"within {abs(skew_s):.3f} s of the server's")
    late = "ahead of" if skew_s > 0 else "behind"
    return warning("clock", f"{abs(skew_s):.1f} s {late} the server's", "Synchronize both, for example with chrony")
