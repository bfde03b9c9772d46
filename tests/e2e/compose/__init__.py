"""The service as `docker compose` runs it, on a real container engine: `python -m tests.e2e.compose`."""
