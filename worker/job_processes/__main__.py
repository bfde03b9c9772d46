"""`python -m worker.job_processes SOCKET MEMORY`: a job process. Only `worker.job_processes.processes` starts it."""

from __future__ import annotations

from worker.job_processes.job_process import make_real_pipeline, run_job_process

if __name__ == "__main__":
    run_job_process(make_real_pipeline)
