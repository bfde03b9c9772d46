"""`python -m maskq` is `maskq`."""

from __future__ import annotations

from maskq.cli.entry import main

if __name__ == "__main__":
    main()
