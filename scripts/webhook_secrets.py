"""The secrets that sign webhooks, of the deployment at REDIS_URL or of `scripts/up` on this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from scripts.broker import running_broker
from webhooks import secrets


def main() -> int:
    """As `webhooks.secrets`, which finds no embedded broker by itself. Returns an exit status."""
    if os.environ.get("REDIS_URL") or {"-h", "--help"} & set(sys.argv):
        return secrets.main()
    with running_broker(Path(os.environ.get("DATA", ".data"), "broker").absolute()) as os.environ["REDIS_URL"]:
        return secrets.main()


if __name__ == "__main__":
    sys.exit(main())
