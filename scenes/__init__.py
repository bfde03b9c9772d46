"""Drawn scenes with known masks: training data, evaluation data and test images from one source."""
