"""Does the service keep its promises in containers? Builds it, brings it up, and lets things happen to it.

    python -m tests.e2e.compose [--folder FOLDER] [--only TRIALS] [--save NAME]

Needs root and a kernel for containers, and installs Debian's Docker engine where there is none. Where it cannot run, it
says so and ends with status 77. The base images are stand-ins made of Debian's packages. All is kept in FOLDER, images
included, so that the next run builds only what has changed.
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
from tests.e2e.compose.engine import own_engine
from tests.e2e.compose.jobs import Clients, KnownJobs
from tests.e2e.compose.receiver import receiving
from tests.e2e.compose.shell import CannotRun, TrialFailed
from tests.e2e.compose.stack import SERVICES, Stack
from tests.e2e.compose.trials import TRIALS, Trial

_SKIPPED = 77
"""What automake's tests end with when they cannot run."""
_SCENES = 24
_MB = 1e6


def main() -> int:
    """Run every trial. Returns an exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/maskq-compose"), help="for the engine's data")
    parser.add_argument("--save", help="keep the figures in benchmarks/results/NAME.json")
    parser.add_argument("--only", help="names of trials, by commas; all if none is named")
    options = parser.parse_args()
    only = options.only.split(",") if options.only else None
    options.folder.mkdir(parents=True, exist_ok=True)
    try:
        with own_engine(options.folder):
            figures = _build(options.folder) | _try(Stack(free_port()), only)
    except CannotRun as error:
        say(f"NOT RUN, no container engine here: {error}")
        return _SKIPPED
    except TrialFailed as error:
        say(f"FAILED: {error}")
        return 1
    report("tests.e2e.compose", figures, options.save)
    print(f"{len(_chosen(only))} passed, 0 failed")
    return 0


def _build(folder: Path) -> dict[str, Any]:
    """Both images. Returns their sizes, and how long they took."""
    stack, figures = Stack(0), {}
    with served_wheels(folder):
        say("base images")
        make_bases(folder)
        base_mb = stack.image_bytes(PYTHON) / _MB
        for name in ("api", "worker"):
            say(f"image maskq-{name}")
            begin = time.monotonic()
            stack.build(name)
            mb = stack.image_bytes(f"maskq-{name}") / _MB
            sizes = {"image_mb": mb, "of_that_base_mb": base_mb}
            figures[name] = {**sizes, "build_s": time.monotonic() - begin}
    return figures


def _try(stack: Stack, only: list[str] | None) -> dict[str, Any]:
    """The trials on one service, one after the other."""
    known = KnownJobs(_SCENES)
    try:
        stack.down()  # whatever a run that was killed has left
        say("up")
        begin = time.monotonic()
        stack.up(SERVICES["worker"])
        stack.wait_until_ready(SERVICES["worker"])
        up_s = time.monotonic() - begin
        with receiving(stack) as receiver, closing(Clients(stack.url, known, receiver)) as clients:
            return {"up_s": up_s, **_try_each(stack, clients, only)}
    except TrialFailed:
        print(stack.compose("logs", "--no-color", "--tail", "60"))
        raise
    finally:
        stack.down()


def _try_each(stack: Stack, clients: Clients, only: list[str] | None) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for trial in _chosen(only):
        say(trial.__name__)
        try:
            figures[trial.__name__] = trial(stack, clients)
        except TrialFailed:
            clients.give_up()
            raise
        say(f"  {figures[trial.__name__]}")
    return figures


def _chosen(only: list[str] | None) -> list[Trial]:
    return [trial for trial in TRIALS if only is None or trial.__name__ in only]


def say(line: str) -> None:
    """A line of the trial's log."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
