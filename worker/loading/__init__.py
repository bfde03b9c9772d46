"""Finds, fetches, checks and loads a checkpoint and its mask VQ-VAE."""
