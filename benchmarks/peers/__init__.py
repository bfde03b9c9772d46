"""The service against other ways to serve the same model."""
