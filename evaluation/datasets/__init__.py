"""Examples with known answers: drawn scenes, COCO, RefCOCO."""
