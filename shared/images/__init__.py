"""Image files from clients: headers are checked here, and images are decoded in sandboxed child processes."""
