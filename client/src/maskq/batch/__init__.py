"""Many images with one prompt, in a folder of results that survives kills. `run.py` is the file to read first."""
