"""Processes that run the jobs of a worker, so that the interpreter of the worker does little but feed the device.

`processes` is the worker's side: it starts them, gives them jobs, and answers what they ask of the model. `job_process`
is the program that they run. It asks with `remote_model`, and loads no model library.
"""
