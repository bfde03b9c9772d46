"""Checks that nothing accepted is lost while processes are killed and frozen and messages are dropped."""
