"""All measurements that need a GPU, in one command. Each part has a time limit and a result file of its own.

    python -m benchmarks.gpu [--minutes 10] [--only PART ...] [--rehearse]

The parts run one after the other, the most wanted first, until the minutes are over; what fails or takes too long is
named at the end, and the others run. Results are in `benchmarks/results/gpu-PART.json`, what a part wrote in
`.data/gpu/PART.log`. No official weights are needed: models have random weights of the official shape, and answers of a
fixed length. `--rehearse` runs all parts with a small model on any machine; its results are only in the logs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.devices.accelerators import usable

_LOGS = Path(".data/gpu")


@dataclass(frozen=True)
class Part:
    """One measurement: the arguments of its program, and how long it may take."""

    name: str
    program: str
    arguments: Sequence[str]
    rehearsal: Sequence[str]
    """Arguments that make it short on a machine without a GPU."""
    limit_s: float

    def command(self, *, rehearse: bool) -> list[str]:
        """What runs it."""
        arguments = self.rehearsal if rehearse else (*self.arguments, "--save", f"gpu-{self.name}")
        return [sys.executable, "-m", self.program, *arguments]


def _engine(side: int, batch: int, limit_s: float, *, dtype: str = "bfloat16", model: str = "3b") -> Part:
    """The engine beside `generate` of transformers. The first round of a row does not count, the second does."""
    jobs = max(32, 2 * batch)
    shape = ("--model", model, "--side", str(side), "--batch", str(batch), "--dtype", dtype)
    name = f"engine-{model}-{side}-batch-{batch}" + (f"-{dtype}" if dtype != "bfloat16" else "")
    small = ("--model", "demo", "--batch", str(min(batch, 4)), "--jobs", "8", "--rounds", "1", "--dtype", "float32")
    return Part(name, "benchmarks.engine", (*shape, "--jobs", str(jobs), "--rounds", "1"), small, limit_s)


def _steps(side: int, limit_s: float) -> Part:
    """One prefill and one decode step, kernel by kernel."""
    arguments = ("--model", "3b", "--side", str(side), "--batch", "64", "--dtype", "bfloat16")
    return Part(f"steps-3b-{side}", "benchmarks.steps", arguments, ("--model", "demo", "--batch", "4"), limit_s)


PARTS = (
    _engine(224, 64, 90),
    _steps(224, 60),
    Part("service", "benchmarks.service", ("--jobs", "100", "--in-flight", "64"), ("--jobs", "4"), 90),
    Part("pace", "benchmarks.pace", ("--seconds", "8"), ("--seconds", "1", "--only", "3b_224_jpeg_224"), 120),
    _engine(448, 64, 120),
    _engine(224, 16, 60),
    _engine(224, 128, 100),
    _steps(448, 60),
    _engine(224, 64, 90, dtype="float16"),
    _engine(224, 64, 150, model="10b"),
    Part("soak", "benchmarks.load", ("--soak", "60"), ("--soak", "2"), 90),
)


def run_part(part: Part, limit_s: float, *, rehearse: bool) -> str:
    """Run a part within this time. Returns how it ended: `done`, or why it has no result."""
    command = part.command(rehearse=rehearse)
    with (_LOGS / f"{part.name}.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as run:
        try:
            status = run.wait(limit_s)
        except subprocess.TimeoutExpired:
            run.terminate()  # programs that start others stop them then
            _wait_or_kill(run)
            return f"took more than {limit_s:.0f} s"
    return "done" if status == 0 else f"failed with status {status}"


def _wait_or_kill(run: subprocess.Popen[bytes]) -> None:
    try:
        run.wait(10)
    except subprocess.TimeoutExpired:
        run.kill()


def run_parts(parts: Iterable[Part], minutes: float, *, rehearse: bool) -> dict[str, str]:
    """Run the parts until the time is over. Returns how each ended, by its name."""
    _LOGS.mkdir(parents=True, exist_ok=True)
    ended, until = {}, time.monotonic() + 60 * minutes
    for part in parts:
        limit_s = min(part.limit_s, until - time.monotonic())
        begin = time.monotonic()
        ended[part.name] = run_part(part, limit_s, rehearse=rehearse) if limit_s > 1 else "no time was left"
        print(f"{part.name:32} {ended[part.name]}, {time.monotonic() - begin:.0f} s", flush=True)
    return ended


def main() -> int:
    """Run the parts. Returns 0 if each has a result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="for all parts together")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], metavar="PART",
                        help=f"of: {', '.join(part.name for part in PARTS)}")  # fmt: skip
    parser.add_argument("--rehearse", action="store_true", help="with a small model, on any machine")
    options = parser.parse_args()
    if not options.rehearse and not usable("cuda"):
        parser.error("PyTorch finds no NVIDIA GPU here. --rehearse runs the same programs without one")
    parts = [part for part in PARTS if not options.only or part.name in options.only]
    ended = run_parts(parts, options.minutes, rehearse=options.rehearse)
    return 0 if set(ended.values()) == {"done"} else 1


if __name__ == "__main__":
    sys.exit(main())
