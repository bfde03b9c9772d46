"""`python -m webhooks`: deliver webhooks until told to stop."""

from __future__ import annotations

from webhooks.app import run_deliverer

if __name__ == "__main__":
    run_deliverer()
