"""`python -m webhooks`: deliver webhooks until told to stop."""

from __future__ import annotations

from shared.process import entry_point
from webhooks.app import run_deliverer

if __name__ == "__main__":
    entry_point.run(run_deliverer)
