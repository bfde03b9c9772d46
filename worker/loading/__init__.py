"""Finds, fetches, checks and loads a checkpoint with its mask decoder."""
