"""Image files from clients: checked by their headers here, decoded in sandboxed child processes."""
