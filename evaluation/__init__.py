"""Measures mask quality by the authors' protocol: predictions for examples with ground truth, scored."""
