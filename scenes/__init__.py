"""Drawn scenes with known masks: the one source of training data, evaluation data and test images."""
