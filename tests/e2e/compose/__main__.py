"""Tests the service in containers: builds the images, starts the services, and causes failures while clients use them.

    python -m tests.e2e.compose [--folder FOLDER] [--only TRIALS] [--save NAME]

Needs root and a kernel that can run containers. Installs Debian's Docker engine if there is none, and uses Compose v2.
If it cannot run, it prints the reason and ends with status 77. The base images are replacements made of Debian's
packages. It runs every command that the pages show, in a copy of the project. FOLDER keeps all data and images, so that
the next run builds only what has changed.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.report import report
from local.broker import free_port
from tests.e2e.compose.bases import PYTHON, make_bases, served_wheels
from tests.e2e.compose.documented import cannot_run, documented_commands
from tests.e2e.compose.engine import own_engine
from tests.e2e.compose.jobs import Clients, KnownJobs
from tests.e2e.compose.operator import MAINTENANCE, first_mask
from tests.e2e.compose.receiver import receiving
from tests.e2e.compose.shell import CannotRun, TrialFailed
from tests.e2e.compose.stack import ROOT, SERVICES, Stack
from tests.e2e.compose.trials import CHECKS, FAILURES, Trial

_SKIPPED = 77
"""The exit status of a skipped test, as in automake."""
_SCENES = 24
_MB = 1e6
TRIALS: tuple[Trial, ...] = (*FAILURES, *MAINTENANCE, *CHECKS)


def main() -> int:
    """Run the chosen trials. Returns an exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/maskq-compose"), help="data of the engine")
    parser.add_argument("--save", help="save the results in benchmarks/results/NAME.json")
    parser.add_argument("--only", help="comma-separated names of trials; default: all")
    options = parser.parse_args()
    only = options.only.split(",") if options.only else None
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        with own_engine(options.folder), served_wheels(options.folder):
            log("base images")
            make_bases(options.folder)
            results = _run_trials(Stack.in_copy(options.folder, free_port()), only)
    except CannotRun as error:
        log(f"NOT RUN, no container engine here: {error}")
        return _SKIPPED
    except TrialFailed as error:
        log(f"FAILED: {error}")
        return 1
    report("tests.e2e.compose", results, options.save)
    print(f"{len(_chosen(only))} passed, 0 failed")
    return 0


def _run_trials(stack: Stack, only: list[str] | None) -> dict[str, Any]:
    """Run the trials on one service, one after the other. Returns their results."""
    known = KnownJobs(_SCENES)
    try:
        stack.down()  # what a killed run has left behind
        log("first_mask")
        results: dict[str, Any] = {"versions": stack.versions(), "first_mask": first_mask(stack)}
        results |= _images(stack)
        log("up")
        stack.configure(WORKERS=str(SERVICES["worker"]))
        begin = time.monotonic()
        stack.documented("docker compose up -d --build")
        stack.wait_until_ready(SERVICES["worker"])
        results["up_s"] = time.monotonic() - begin
        with receiving(stack) as receiver, closing(Clients(stack.url, known, receiver)) as clients:
            results |= _run_each(stack, clients, only)
        return results | _documented(stack, only)
    except TrialFailed:
        print(stack.compose("logs", "--no-color", "--tail", "60"))
        raise
    finally:
        stack.down()


def _images(stack: Stack) -> dict[str, Any]:
    """The sizes of both images in MB."""
    base_mb = stack.image_bytes(PYTHON) / _MB
    return {
        name: {"image_mb": stack.image_bytes(f"maskq-{name}") / _MB, "of_that_base_mb": base_mb}
        for name in ("api", "worker")
    }


def _documented(stack: Stack, only: list[str] | None) -> dict[str, Any]:
    """Check that every command on the pages was run, apart from those that cannot run here."""
    left = {command for command in documented_commands(ROOT) - set(stack.commands) if not cannot_run(command)}
    if left and only is None:
        raise TrialFailed(f"commands on the pages that no trial has run: {sorted(left)}")
    return {"documented_commands_run": len(set(stack.commands))}


def _run_each(stack: Stack, clients: Clients, only: list[str] | None) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for trial in _chosen(only):
        log(trial.__name__)
        try:
            results[trial.__name__] = trial(stack, clients)
        except TrialFailed:
            clients.give_up()
            raise
        log(f"  {results[trial.__name__]}")
    return results


def _chosen(only: list[str] | None) -> list[Trial]:
    return [trial for trial in TRIALS if only is None or trial.__name__ in only]


def log(line: str) -> None:
    """Print a line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
