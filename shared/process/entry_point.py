"""How a process begins and ends: a configuration that cannot work ends it with one line and its own exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from shared.errors import ConfigurationError

CONFIGURATION_STATUS = os.EX_CONFIG
"""78: starting the process again will not help, so supervisors do not."""


def run(main: Callable[[], int]) -> NoReturn:
    """Exit with the status that `main` returns; explain a `ConfigurationError` on standard error."""
    try:
        status = main()
    except ConfigurationError as error:
        print(f"maskq: {error.detail}", file=sys.stderr)  # noqa: T201  logs may not be set up yet
        status = CONFIGURATION_STATUS
    sys.exit(status)
