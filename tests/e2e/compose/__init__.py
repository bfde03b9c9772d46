"""The service as `docker compose` runs it, on a real engine: `python -m tests.e2e.compose`."""
