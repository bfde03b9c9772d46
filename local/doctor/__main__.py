"""Runs all checks at once, each on its own: one that fails does not keep the others from their findings."""

from __future__ import annotations

import argparse
import fcntl
import logging
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from local.doctor.finding import Finding, Level, ok, problem, warning
from local.doctor.report import as_json, as_text, worst
from local.doctor.settings_check import examine_settings, readable_groups
from shared.process import entry_point
from shared.process.command_line import PORT, CommandLine
from shared.settings import RedisSettings

Check = Callable[[dict[str, Any]], Iterable[Finding]]
"""Gets the groups of settings that can be read."""


class _WrongGroup(Exception):
    """A check needs a group of settings that cannot be read. The message is the name of the group."""


class _Groups(dict[str, Any]):
    def __missing__(self, name: str) -> Any:
        raise _WrongGroup(name)


def main() -> int:
    """Print the report. Returns an exit status: 0 unless there is a problem."""
    options = _arguments()
    logging.disable()  # what the checks log is in their findings
    groups = _Groups(readable_groups())
    with ThreadPoolExecutor() as threads:
        reports = list(threads.map(lambda check: _run(check[0], check[1], groups), _checks(options)))
    findings = [finding for report in reports for finding in report]
    print(as_json(findings) if options.json else as_text(findings))
    return 1 if worst(findings) == Level.PROBLEM else 0


def _arguments() -> argparse.Namespace:
    parser = CommandLine(prog="scripts/doctor", description="Examines what maskq needs, and says what to do.")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--host", default="127.0.0.1", help="address of the front end (default: this machine only)")
    parser.add_argument("--port", type=PORT, default=8000, help="port of the front end (default: 8000)")
    parser.add_argument("--data", type=Path, default=Path(".data"), help="data folder of scripts/up (default: .data)")
    return parser.parse_args()


def _checks(options: argparse.Namespace) -> list[tuple[str, Check]]:
    """All checks in the order of the report. Each imports what it needs itself: a package may be missing or broken."""
    gpu, machine, model = (partial(import_module, f"local.doctor.{name}_check") for name in ("gpu", "machine", "model"))
    return [
        ("settings", examine_settings),
        ("redis", lambda groups: _redis(groups["redis"], options.data / "broker")),
        ("model", lambda groups: model().examine_models(groups["model"], groups["checkpoint"])),
        ("gpu", lambda _: gpu().examine_gpu()),
        ("disk", lambda groups: machine().examine_disk(groups["checkpoint"], options.data)),
        ("images", lambda groups: machine().examine_image_store(groups["images"])),
        ("port", lambda _: machine().examine_port(options.host, options.port)),
        ("children", lambda groups: machine().examine_children(groups["images"])),
        ("python", lambda _: machine().examine_python()),
    ]


def _run(area: str, check: Check, groups: dict[str, Any]) -> list[Finding]:
    try:
        return list(check(groups))
    except _WrongGroup as error:
        return [warning(area, f"not examined, because the settings of `{error}` are wrong", "Correct them first")]
    except ImportError as error:
        return [
            problem(area, f"could not be examined: {error.name} is not installed", "Install what pyproject.toml lists")
        ]
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        return [problem(area, f"could not be examined: {reason}", "This is a bug, unless the machine is broken")]


def _redis(settings: RedisSettings, folder: Path) -> Iterable[Finding]:
    """Examine the server of REDIS_URL. Without it: the broker of `scripts/up`, if that runs."""
    from local.doctor.redis_check import examine_redis
    from local.doctor.sentinel_check import examine_sentinels

    if "redis_url" in settings.model_fields_set:
        return [*examine_sentinels(settings), *examine_redis(settings)]
    port = _port_of_running_broker(folder)
    if not port:
        return [ok("redis", "REDIS_URL is not set: scripts/up starts a broker of its own")]
    return examine_redis(settings.model_copy(update={"redis_url": f"redis://127.0.0.1:{port}/0"}))


def _port_of_running_broker(folder: Path) -> str:
    try:
        with (folder / "lock").open("r") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return lock.read().strip()
    except OSError:
        pass  # scripts/up has never run here
    return ""


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    entry_point.run(main)
