"""What goes wrong with a real server, and how it is mended: each gives its real error."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

from redis.exceptions import ResponseError

from local.broker import free_port
from testing.required import require_program
from tests.integration.failover.server import Server

_SLOW_LOAD = ("--key-load-delay", "100", "--aof-use-rdb-preamble", "no")
_LOADED_COMMANDS = 90_000


@contextmanager
def _replica(server: Server) -> Iterator[None]:
    server.admin.replicaof("127.0.0.1", str(free_port()))
    yield
    server.admin.replicaof("NO", "ONE")


@contextmanager
def _replica_without_data(server: Server) -> Iterator[None]:
    server.admin.config_set("replica-serve-stale-data", "no")
    with _replica(server):
        yield


@contextmanager
def _too_few_replicas(server: Server) -> Iterator[None]:
    server.admin.config_set("min-replicas-to-write", "1")
    yield
    server.admin.config_set("min-replicas-to-write", "0")


@contextmanager
def _full_memory(server: Server) -> Iterator[None]:
    server.admin.config_set("maxmemory", "1")
    yield
    server.admin.config_set("maxmemory", "0")


@contextmanager
def _unwritable_disk(server: Server) -> Iterator[None]:
    (server.folder / "dump.rdb").mkdir()  # an RDB can then not be renamed to it, not even by root
    server.admin.config_set("save", "1 0")
    server.admin.bgsave()
    server.until(lambda: server.admin.info("persistence")["rdb_last_bgsave_status"] != "ok")
    yield
    server.admin.config_set("save", "")
    (server.folder / "dump.rdb").rmdir()


def _make_loading_slow(server: Server) -> None:
    with server.admin.pipeline(transaction=False) as batch:
        for number in range(_LOADED_COMMANDS):
            batch.set("maskq:unused:loaded", number)
        batch.delete("maskq:unused:loaded")
        batch.execute()


@contextmanager
def _loading(server: Server) -> Iterator[None]:
    server.restart(*_SLOW_LOAD)  # it answers between the commands that it loads, for some 9 s
    yield
    server.wait()


@contextmanager
def _no_writing(server: Server) -> Iterator[None]:
    server.admin.execute_command("ACL", "SETUSER", "maskq", "-@write", "-evalsha")
    yield
    server.let_in()


@contextmanager
def _nothing_allowed(server: Server) -> Iterator[None]:
    server.admin.execute_command("ACL", "SETUSER", "maskq", "nocommands", "resetkeys", "resetchannels")
    yield
    server.let_in()


@contextmanager
def _shut_out(server: Server) -> Iterator[None]:
    server.admin.execute_command("ACL", "SETUSER", "maskq", "off")
    server.disconnect_clients()
    yield
    server.let_in()


@contextmanager
def _endless_script(server: Server) -> Iterator[None]:
    with _script(server, "while true do end"):
        yield
        server.admin.script_kill()


@contextmanager
def _writing_script(server: Server) -> Iterator[None]:
    """It cannot be killed (UNKILLABLE), only with the server."""
    with _script(server, "redis.call('SET', 'maskq:unused', 1) redis.call('DEL', 'maskq:unused') while true do end"):
        yield
        server.restart()
        server.wait()


@contextmanager
def _script(server: Server, code: str) -> Iterator[None]:
    server.admin.config_set("busy-reply-threshold", "100")
    login = ["--user", "operator", "--pass", "secret", "--no-auth-warning"]
    command = [require_program("redis-cli"), "-p", str(server.port), *login, "EVAL", code, "0"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        server.until(lambda: _is_busy(server))
        yield
    finally:
        process.kill()
        process.wait()


def _is_busy(server: Server) -> bool:
    try:
        server.admin.ping()
    except ResponseError as error:
        return str(error).startswith("BUSY")
    return False


@contextmanager
def _too_many_clients(server: Server) -> Iterator[None]:
    server.admin.ping()
    server.admin.config_set("maxclients", "1")
    server.disconnect_clients()
    yield
    server.admin.config_set("maxclients", "10000")


@contextmanager
def _restarted_with(server: Server, *options: str) -> Iterator[None]:
    server.restart(*options)
    yield
    server.restart()
    server.wait()


def _cluster(server: Server) -> AbstractContextManager[None]:
    return _restarted_with(server, "--cluster-enabled", "yes")


def _without_scripts(server: Server) -> AbstractContextManager[None]:
    return _restarted_with(server, "--rename-command", "EVALSHA", "")


@contextmanager
def _away(server: Server) -> Iterator[None]:
    server.kill()
    yield
    server.start()
    server.wait()


@contextmanager
def _frozen(server: Server) -> Iterator[None]:
    server.freeze()
    yield
    server.thaw()


@contextmanager
def _paused(server: Server) -> Iterator[None]:
    server.admin.execute_command("CLIENT", "PAUSE", "15000", "ALL")  # a command that ends it would be paused too
    yield
    server.wait()


@contextmanager
def _disconnected(server: Server) -> Iterator[None]:
    server.disconnect_clients()
    yield


@contextmanager
def _unblocked(server: Server) -> Iterator[None]:
    server.until(lambda: _blocked(server))
    for client in _blocked(server):
        server.admin.execute_command("CLIENT", "UNBLOCK", client, "ERROR")
    yield


def _blocked(server: Server) -> list[str]:
    return [client["id"] for client in server.clients() if client["cmd"] == "brpop"]


@dataclass(frozen=True)
class Trouble:
    """One kind of trouble."""

    happens: Callable[[Server], AbstractContextManager[None]]
    """The server has it while this context lasts."""
    prepare: Callable[[Server], object] = lambda _: None
    """Makes ready what must be quick."""
    reason: str = ""
    """What `/readyz` says. Empty: it is ready."""
    refusal: str = "store_unavailable"
    """Type of the error with which jobs are refused. Empty: they are not."""
    is_slow: bool = False
    """Whether the server answers late or not at all, so that each request takes seconds."""

    has_primary: bool = False
    """Whether what the server has can be read, although it takes no jobs."""


TROUBLES = {
    "READONLY": Trouble(_replica, reason="it is a replica, which takes no writes (READONLY)"),
    "MASTERDOWN": Trouble(_replica_without_data, reason="it is a replica without a primary (MASTERDOWN)"),
    "NOREPLICAS": Trouble(_too_few_replicas, reason="it has too few replicas to take writes (NOREPLICAS)"),
    "LOADING": Trouble(_loading, _make_loading_slow, reason="it is loading its data", is_slow=True),
    "OOM": Trouble(_full_memory, reason="its memory is full (OOM)", refusal="store_full", has_primary=True),
    "MISCONF": Trouble(_unwritable_disk, reason="it cannot write to its disk (MISCONF)", has_primary=True),
    "NOPERM": Trouble(_nothing_allowed, reason="its user lacks a right (NOPERM)"),
    "NOPERM for writing": Trouble(_no_writing, reason="its user lacks a right (NOPERM)"),
    "WRONGPASS": Trouble(_shut_out, reason="does not accept this user and password (WRONGPASS)"),
    "BUSY": Trouble(_endless_script, reason="it is busy with a script (BUSY)"),
    "UNKILLABLE": Trouble(_writing_script, reason="it is busy with a script (BUSY)"),
    "CLUSTERDOWN": Trouble(_cluster, reason="it answers with an error"),
    "unknown error": Trouble(_without_scripts, reason="it answers with an error"),
    "too many clients": Trouble(_too_many_clients, reason="it has too many clients"),
    "refused connection": Trouble(_away, reason="Connection refused"),
    "frozen": Trouble(_frozen, reason="no answer in time", is_slow=True),
    "CLIENT PAUSE": Trouble(_paused, reason="no answer in time", is_slow=True),
    "CLIENT KILL": Trouble(_disconnected, refusal="", has_primary=True),
    "UNBLOCKED": Trouble(_unblocked, refusal="", has_primary=True),
}
