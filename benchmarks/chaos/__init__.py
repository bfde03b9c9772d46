"""Checks that nothing accepted is lost while processes and primaries of Redis die and messages are dropped."""
