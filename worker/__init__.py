"""A worker claims jobs, runs the model and stores results. `pipeline.py` has the stages of one job, `service.py` all
tasks of the process, and `build.py` puts them together."""
