"""What the programs that let chaos loose on the service have in common: how much of it, and how they end."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.report import report


@dataclass(frozen=True)
class Plan:
    """How much chaos."""

    jobs: int
    seconds: float
    """Over which they are submitted."""
    fault_every_s: float
    drain_s: float = 120.0
    """How long the rest may take once the faults have ended."""
    seed: int = 0


AnyPlan = TypeVar("AnyPlan", bound=Plan)


def argument_parser(description: str | None, usual: Plan) -> argparse.ArgumentParser:
    """The options that all have. Each is named as the field of the plan that it sets, but for `save`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=usual.jobs)
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="over which the jobs are submitted")
    parser.add_argument(
        "--fault-every", dest="fault_every_s", type=float, default=usual.fault_every_s, help="seconds between faults"
    )
    parser.add_argument("--seed", type=int, default=usual.seed)
    parser.add_argument("--save", help="keep the figures in benchmarks/results/NAME.json")
    return parser


def conduct(
    program: str,
    parser: argparse.ArgumentParser,
    plan: type[AnyPlan],
    run: Callable[[AnyPlan, Path], dict[str, Any]],
    is_sound: Callable[[dict[str, Any]], bool],
) -> int:
    """Run what the command line asks for in a folder of its own, and print the figures as JSON.

    Returns an exit status: 1 if the figures are not sound; then it says where logs and data are.
    """
    options = vars(parser.parse_args())
    save_as = options.pop("save")
    folder = Path(tempfile.mkdtemp(prefix="maskq-chaos-"))
    figures = run(plan(**options), folder)
    report(program, figures, save_as)
    if not is_sound(figures):
        print(f"not sound; logs and data are in {folder}", file=sys.stderr)
        return 1
    return 0
