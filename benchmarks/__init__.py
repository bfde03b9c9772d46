"""Programs that measure the service. Every measured number in README and docs comes from one of them."""
