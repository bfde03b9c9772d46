"""A real job process with a script instead of the pipeline. `testing.scripted_worker` starts it."""

from __future__ import annotations

from testing.scripted_pipeline import ScriptedPipeline
from worker.job_processes.job_process import run_job_process

if __name__ == "__main__":
    run_job_process(lambda *_: ScriptedPipeline())
