"""What front end, workers and the webhook service share: the domain, the store, image decoding, process parts."""

VERSION = "0.1.0"
"""Of this release, as in pyproject.toml."""
