"""Everything that was tried as a wrong configuration, and the table of it in docs/operations.md.

`python -m tests.misconfigurations` runs all cases and writes the table; a test compares each line with the program.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from moto.server import ThreadedMotoServer

from local.broker import free_port, wait_for_server

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "operations.md"
HEADING = "## Wrong settings, and what you see"
_UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
"""Takes from root the right to read and write everything."""
_AS_INSTALLED_WITHOUT_TRACING = (
    "import runpy, sys; sys.modules['opentelemetry.exporter.otlp.proto.http.trace_exporter'] = None; sys.argv[1:] = "
    "['--port', '{port}']; runpy.run_module('api', run_name='__main__')"
)
_WITH_SECRETS_IN = (
    "import pathlib, runpy, sys; import shared.settings.group as group, shared.process.environment as environment; "
    "group.SECRETS = environment.SECRETS = pathlib.Path('{folder}/secrets'); sys.argv[1:] = ['--port', '{port}']; "
    "runpy.run_module('api', run_name='__main__')"
)


@dataclass(frozen=True)
class Misconfiguration:
    """A program with something wrong. `{...}` in its texts are the names in `Place`."""

    wrong: str
    """What is wrong, for the table."""
    program: str = "api"
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    is_unprivileged: bool = False
    """Run it without the rights of root, who may write everywhere."""
    code: str = ""
    """Python code to run instead of the program."""


def _setting(variable: str, value: str, program: str = "api") -> Misconfiguration:
    return Misconfiguration(f"`{variable}={value}`", program, {variable: value})


def _redis(wrong: str, url: str, program: str = "api") -> Misconfiguration:
    return Misconfiguration(wrong, program, {"REDIS_URL": url})


MISCONFIGURATIONS = [
    _setting("MASKQ_MAX_BATCH", "lots", "worker"),
    _setting("maskq_max_bach", "4", "worker"),
    _setting("MASKQ_DTYPE", "int8", "worker"),
    _setting("MASKQ_LOG_FORMAT", "xml", "webhooks"),
    _setting("MASKQ_MODEL_ID", "nosuch", "worker"),
    _setting("MASKQ_MODELS_DIR", "/nowhere", "worker"),
    _setting("MASKQ_DEVICE", "tpu", "worker"),
    _setting("MASKQ_DEVICE", "cuda:7", "worker"),
    _setting("MASKQ_WORKER_THREADS", "4", "worker"),
    _setting("MASKQ_METRICS_ALLOW", "everybody"),
    _setting("MASKQ_METRICS_ALLOW", "10.0.0.1/8"),
    _setting("MASKQ_OTLP_ENDPOINT", "collector", "webhooks"),
    Misconfiguration(
        "`MASKQ_OTLP_ENDPOINT` without the extra `tracing`",
        environment={"MASKQ_OTLP_ENDPOINT": "http://collector:4318"},
        code=_AS_INSTALLED_WITHOUT_TRACING,
    ),
    Misconfiguration("`HF_TOKEN` with a line break in it", "worker", {"HF_TOKEN": "hf_one\nhf_two"}),
    Misconfiguration("a secrets file that may not be read", is_unprivileged=True, code=_WITH_SECRETS_IN),
    _setting("MASKQ_IMAGE_STORE", "foo://", "worker"),
    _setting("MASKQ_IMAGE_STORE", "file:///nowhere"),
    Misconfiguration(
        "a folder in `MASKQ_IMAGE_STORE` that cannot be written",
        environment={"MASKQ_IMAGE_STORE": "file://{folder}/readonly"},
        is_unprivileged=True,
    ),
    Misconfiguration("a bucket without credentials", environment={"MASKQ_IMAGE_STORE": "s3://bucket"}),
    Misconfiguration(
        "a bucket that does not exist",
        environment={
            "MASKQ_IMAGE_STORE": "s3://nosuch",
            "AWS_ENDPOINT_URL": "{s3}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": "us-east-1",
        },
    ),
    _redis("`REDIS_URL=foo`", "foo", "webhooks"),
    _redis("`REDIS_URL=redis:6379`, without a scheme", "redis:6379"),
    _redis("`REDIS_URL=unix:///run/redis.sock`", "unix:///run/redis.sock"),
    _redis("`REDIS_URL=sentinel://redis:26379/0`, without a service", "sentinel://redis:26379/0", "worker"),
    _redis("`REDIS_URL=redis://redis:notaport/0`", "redis://redis:notaport/0"),
    _redis("`#` in the password", "redis://maskq:pass#word@redis:6379/0"),
    _redis("`/` in the password", "redis://maskq:pass/word@redis:6379/0"),
    _redis("`%` in the password", "redis://maskq:pass%word@redis:6379/0"),
    _redis("`REDIS_URL=redis://redis:6379/zero`", "redis://redis:6379/zero"),
    _redis("`REDIS_URL=redis://redis:6379/0?timeout=3`", "redis://redis:6379/0?timeout=3"),
    _redis("`REDIS_URL=rediss://redis:6379/0?ssl_cert_reqs=none`", "rediss://redis:6379/0?ssl_cert_reqs=none"),
    _setting("MASKQ_CA_FILE", "/nowhere", "webhooks"),
    _redis("`rediss://` for a server without TLS", "rediss://:secret@{secured}/0"),
    _redis("no password where one is needed", "redis://{secured}/0", "worker"),
    _redis("a wrong password", "redis://:wrong@{secured}/0", "webhooks"),
    _redis("a user that does not exist", "redis://nosuch:secret@{secured}/0"),
    _redis("a user without rights", "redis://weak:secret@{secured}/0"),
    _redis("a user without channels, such as Redis 7 makes them", "redis://mute:secret@{secured}/0", "worker"),
    _redis("a database that does not exist", "redis://:secret@{secured}/99"),
    _redis("no Redis at that address, but a web server", "redis://{web}/0"),
    _redis("a server without AOF", "redis://{forgetful}/0", "worker"),
    _redis("a service that the sentinels do not know", "sentinel://{sentinel}/nosuch/0?sentinel_password=secret"),
    _redis("no password where the sentinels need one", "sentinel://:secret@{sentinel}/maskq/0", "worker"),
    _redis("`sentinel://` for a server", "sentinel://{secured}/maskq/0?sentinel_password=secret", "webhooks"),
    _redis("`redis://` for a sentinel", "redis://:secret@{sentinel}/0"),
    _redis("`sentinels://` for sentinels without TLS", "sentinels://{sentinel}/maskq/0", "webhooks"),
    Misconfiguration("`--port 99999`", arguments=("--port", "99999")),
    Misconfiguration("`--port http`", "local.up", arguments=("--port", "http")),
    Misconfiguration("a port in use", arguments=("--port", "{used}")),
    Misconfiguration("a port in use", "local.up", arguments=("--port", "{used}")),
    Misconfiguration("`--host` of another machine", arguments=("--host", "192.0.2.1")),
    Misconfiguration("`--host nosuch.invalid`", "local.up", arguments=("--host", "nosuch.invalid")),
    Misconfiguration("`--workers 0`", "local.up", arguments=("--workers", "0")),
    Misconfiguration("`--data` is a file", "local.up", arguments=("--data", "{folder}/file")),
    Misconfiguration(
        "`--data` cannot be written",
        "local.keys",
        arguments=("--data", "{folder}/readonly", "list"),
        is_unprivileged=True,
    ),
]


@dataclass(frozen=True)
class Place:
    """Servers and folders that are wrong in their way."""

    names: Mapping[str, str]

    def last_line(self, case: Misconfiguration) -> tuple[int, str, str]:
        """Run the program. Returns its exit status, its last line as the table shows it, and all that it printed."""
        environment = {"REDIS_URL": "redis://:secret@{secured}/0", **case.environment}
        if case.program.startswith("local."):
            environment.pop("REDIS_URL")
        set_here = {name: value.format(**self.names) for name, value in environment.items()}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "REDIS_URL"))}
        command = ["-c", case.code] if case.code else ["-m", case.program, *self._arguments(case)]
        prefix = _UNPRIVILEGED if case.is_unprivileged and os.getuid() == 0 else ()
        done = subprocess.run(
            [*prefix, sys.executable, *(word.format(**self.names) for word in command)],
            cwd=ROOT,
            env={**inherited, **set_here, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        printed = done.stdout + done.stderr
        return done.returncode, self._shown((done.stderr.splitlines() or [""])[-1]), printed

    def _arguments(self, case: Misconfiguration) -> tuple[str, ...]:
        """The arguments of the program, and those that keep it away from other services of this machine."""
        if case.program == "local.up" and "--data" not in case.arguments:
            return (*case.arguments, "--data", "{folder}/data")
        if case.program == "api" and "--port" not in case.arguments:
            return ("--port", "{port}", *case.arguments)
        return case.arguments

    def _shown(self, line: str) -> str:
        """The line with the addresses and folders of a real deployment."""
        for name, shown in {"secured": 6379, "forgetful": 6379, "web": 6379, "sentinel": 26379}.items():
            line = line.replace(self.names[name], f"redis:{shown}")
        line = line.replace(self.names["folder"], "/folder").replace(f"port {self.names['used']}", "port 8000")
        return re.sub(r"file:///\S*?/readonly", "file:///folder/readonly", line)


@contextmanager
def place() -> Iterator[Place]:
    """Run the servers and make the folders."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp())
        stack.callback(shutil.rmtree, folder)
        (folder / "data").mkdir()
        (folder / "readonly").mkdir(0o555)
        (folder / "secrets").mkdir()
        (folder / "secrets" / "hf_token").touch(0)
        (folder / "file").touch()
        used = stack.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
        moto = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
        moto.start()
        stack.callback(moto.stop)
        web = "{}:{}".format(*moto.get_host_and_port())
        weak = ["--user", "weak", "on", ">secret", "~other*", "-@all", "+ping"]
        mute = ["--user", "mute", "on", ">secret", "~*", "+@all", "resetchannels"]
        users = [*weak, *mute, "--requirepass", "secret"]
        yield Place(
            {
                "folder": str(folder),
                "used": str(used.getsockname()[1]),
                "port": str(free_port()),
                "web": web,
                "s3": f"http://{web}",
                "secured": stack.enter_context(_server(folder, ":secret@", *users, "--appendonly", "yes")),
                "sentinel": stack.enter_context(_sentinel(folder)),
                "forgetful": stack.enter_context(_server(folder, "", "--appendonly", "no")),
            }
        )


@contextmanager
def _server(folder: Path, login: str, *options: str) -> Iterator[str]:
    """A redis-server. Yields `HOST:PORT`."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for_server(f"redis://{login}127.0.0.1:{port}/0")
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


@contextmanager
def _sentinel(folder: Path) -> Iterator[str]:
    """A sentinel with a password, whose service has no server. Yields `HOST:PORT`."""
    port = free_port()
    lines = (
        f"port {port}",
        "bind 127.0.0.1",
        "requirepass secret",
        f"sentinel monitor maskq 127.0.0.1 {free_port()} 1",
    )
    (folder / "sentinel.conf").write_text("\n".join([*lines, ""]), "utf-8")
    command = ["redis-server", str(folder / "sentinel.conf"), "--sentinel"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for_server(f"redis://:secret@127.0.0.1:{port}")
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()


def _code(text: str) -> str:
    """Markdown for code, which may have backticks in it."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def row(case: Misconfiguration, line: str) -> str:
    """A row of the table."""
    program = {"local.up": "scripts/up", "local.keys": "scripts/keys"}.get(case.program, case.program)
    escaped = line.replace("|", "\\|")
    return f"| {case.wrong} | {program} | {_code(escaped)} |"


def _write_table() -> None:
    with place() as here:
        rows = [row(case, here.last_line(case)[1]) for case in MISCONFIGURATIONS]
    text = PAGE.read_text("utf-8")
    before, heading, rest = text.partition(HEADING)
    intro, _, after = rest.partition("\n|")
    following = after[after.index("\n## ") :]
    head = "\n| wrong | program | its last line |\n|---|---|---|\n"
    PAGE.write_text(before + heading + intro + head + "\n".join(rows) + "\n" + following, "utf-8")


if __name__ == "__main__":
    _write_table()
