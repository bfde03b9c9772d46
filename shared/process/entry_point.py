"""Starts the `main` of every program: a wrong configuration ends it with one line and its own exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from shared.errors import ConfigurationError
from shared.process.printable import printable
from shared.process.private_memory import make_memory_private

CONFIGURATION_STATUS = os.EX_CONFIG
"""78: supervisors do not start the process again, because that would not help."""
_INTERRUPTED_STATUS = 130


def run(main: Callable[[], int]) -> NoReturn:
    """Exit with the status that `main` returns. A `ConfigurationError` is explained on standard error, as the last
    line. No other process of the same user can read the secrets of this one."""
    make_memory_private()
    try:
        status = main()
    except ConfigurationError as error:
        print(f"maskq: {printable(' '.join(error.detail.split()))}", file=sys.stderr)  # noqa: T201  logs may not be set up yet
        status = CONFIGURATION_STATUS
    except KeyboardInterrupt:
        status = _INTERRUPTED_STATUS
    sys.exit(status)
