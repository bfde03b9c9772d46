"""`maskq` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PATHS = (str(ROOT), str(ROOT / "client" / "src"))


def environment(*paths: Path, **more: str) -> dict[str, str]:
    """The environment in which `python -m maskq` is the one of this tree. `paths` come first."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MASKQ_")}
    return {**kept, "PYTHONPATH": os.pathsep.join([*map(str, paths), *PATHS]), **more}


def maskq(*arguments: str, **more: object) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end, with further arguments for `subprocess.run`."""
    options = {"env": environment(), "capture_output": True, "timeout": 60, "check": False, **more}
    return subprocess.run([sys.executable, "-m", "maskq", *arguments], **options)  # type: ignore[call-overload]
