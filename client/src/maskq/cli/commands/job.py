"""`maskq job`."""

from __future__ import annotations

from typing import Annotated

import typer

from maskq.cli.completion import job_ids
from maskq.cli.exit_status import ExitStatus
from maskq.cli.objects import print_objects
from maskq.cli.options import AsJson, client_of
from maskq.cli.output import print_json, print_table
from maskq.job import Job

JobId = Annotated[str, typer.Argument(metavar="ID", help="Id of a job.", show_default=False, autocompletion=job_ids)]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until the job has ended.")]
Timeout = Annotated[float | None, typer.Option("--timeout", min=0, help="With --wait: the most seconds to wait.")]
_SHOWN = (
    "id",
    "status",
    "queue_position",
    "prompt",
    "model_id",
    "ref",
    "file_name",
    "created_at",
    "started_at",
    "completed_at",
)


def show_job(
    context: typer.Context, job_id: JobId, wait: Wait = False, timeout: Timeout = None, as_json: AsJson = False
) -> int:
    """Show one job, and the objects that it found. The exit status is 5 if it has ended without a result."""
    if timeout is not None and not wait:
        raise typer.BadParameter("--timeout needs --wait")
    with client_of(context) as client:
        job = client.job(job_id)
        if wait:
            job.wait(timeout)
    print_json(job.json) if as_json else _print(job)
    return ExitStatus.UNSUCCESSFUL if job.status in ("failed", "canceled") else ExitStatus.OK


def _print(job: Job) -> None:
    rows = [(name, job.json[name]) for name in _SHOWN if job.json.get(name) is not None]
    if job.error:
        rows.append(("error", f"{job.error.get('type')}: {job.error.get('detail')}"))
    print_table(("", ""), rows, texts=[1], with_headings=False)
    if job.json.get("result"):
        print_objects(job)
