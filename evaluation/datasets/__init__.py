"""Data sets as examples with ground truth: drawn scenes, COCO, RefCOCO."""
