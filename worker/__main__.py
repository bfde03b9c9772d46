"""`python -m worker`: a worker with the right pool and as many threads as the settings say."""

from __future__ import annotations

import sys

from worker.app import app, settings


def main() -> None:
    """Run until told to stop. Threads, because neither CUDA nor JAX survives a fork; one process a GPU."""
    options = [
        "--pool",
        "threads",
        "--concurrency",
        str(settings.worker_threads),
        "--without-mingle",
        "--without-gossip",
    ]
    app.worker_main(["worker", "--loglevel", "INFO", *options, *sys.argv[1:]])


if __name__ == "__main__":
    main()
