"""The stages of the pipeline around the engine: preprocess, parse, decode masks, render."""
