"""What tests need of the machine. A test without it is skipped with the reason; in CI it fails."""

import os
import shutil
from pathlib import Path

import pytest


def require_program(name: str) -> str:
    """The path of a program."""
    program = shutil.which(name)
    if program is None:
        raise _missing(f"{name} is not installed")
    return program


def require_file(path: Path, package: str) -> Path:
    """``path``, a file of this Debian package."""
    if not path.exists():
        raise _missing(f"{path} is not there (Debian: {package})")
    return path


def _missing(reason: str) -> BaseException:
    return pytest.fail.Exception(reason) if os.environ.get("CI") else pytest.skip.Exception(reason)
