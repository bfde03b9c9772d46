"""Packages that only some functions need. They are imported when such a function is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from maskq.errors import MissingPackage


def require(package: str, extra: str) -> Any:
    """Import a package, or one of its modules.

    Raises:
        MissingPackage: it is not installed. The message names the extra that has it.
    """
    try:
        return import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise MissingPackage(f"this needs {name}, which is not installed: pip install 'maskq[{extra}]'") from error
