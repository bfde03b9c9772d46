"""A worker: claims jobs, runs the model, and stores results. `pipeline.py` is the way of one job."""
