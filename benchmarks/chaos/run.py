"""What the chaos programs share: the options of a run, and how its results are reported."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.chaos.sums import sums
from benchmarks.report import kept, report


@dataclass(frozen=True)
class Plan:
    """How many jobs and faults a run has."""

    jobs: int
    seconds: float
    """The jobs are submitted evenly over this time."""
    fault_every_s: float
    """Mean time between two faults."""
    drain_s: float = 120.0
    """How long the remaining jobs may take after the last fault."""
    seed: int = 0
    """Of the random numbers: which faults, and what clients do."""


AnyPlan = TypeVar("AnyPlan", bound=Plan)


def argument_parser(description: str | None, default: Plan) -> argparse.ArgumentParser:
    """The options that all programs have. Each, except those that keep results, is named as the field of the plan that
    it sets."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=default.jobs)
    parser.add_argument("--seconds", type=float, default=default.seconds, help="the jobs are submitted over this time")
    parser.add_argument(
        "--fault-every", dest="fault_every_s", type=float, default=default.fault_every_s, help="seconds between faults"
    )
    parser.add_argument("--seed", type=int, default=default.seed)
    keep = parser.add_mutually_exclusive_group()
    keep.add_argument("--save", help="keep the results in benchmarks/results/NAME.json")
    keep.add_argument("--add-to", help="keep them there with those of earlier runs, and the sums of all")
    return parser


def run_and_report(
    program: str,
    parser: argparse.ArgumentParser,
    plan: type[AnyPlan],
    run: Callable[[AnyPlan, Path], dict[str, Any]],
    has_passed: Callable[[dict[str, Any]], bool],
) -> int:
    """Run with the options of the command line in a new folder, and print the results as JSON.

    Returns an exit status: 1 if the run has not passed; the folder with logs and data is then printed.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the processes of the run are ended too
    options = vars(parser.parse_args())
    save_as, add_to = options.pop("save"), options.pop("add_to")
    folder = Path(tempfile.mkdtemp(prefix="maskq-chaos-"))
    results = run(plan(**options), folder)
    if add_to:
        runs = [*kept(add_to).get("runs", []), results]
        report(program, {"sums": sums(runs), "runs": runs}, add_to)
    else:
        report(program, results, save_as)
    if not has_passed(results):
        print(f"failed; logs and data are in {folder}", file=sys.stderr)
        return 1
    return 0
