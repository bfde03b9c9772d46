"""The stages of a job before and after the engine: preprocess, parse, decode masks, render."""
