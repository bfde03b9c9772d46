"""`maskq jobs`."""

from __future__ import annotations

from typing import Annotated

import typer

from maskq.cli.options import AsJson, client_of
from maskq.cli.output import print_json, print_note, print_table

Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="The most jobs.")]
Status = Annotated[
    list[str] | None, typer.Option("--status", help="Only jobs in this state, such as `failed`; may be repeated.")
]
Ref = Annotated[str | None, typer.Option("--ref", help="Only jobs with this ref.")]


def list_jobs(
    context: typer.Context, limit: Limit = 20, status: Status = None, ref: Ref = None, as_json: AsJson = False
) -> None:
    """List your jobs, newest first."""
    given = {"status": ",".join(status or []), "ref": ref}
    filters = {name: value for name, value in given.items() if value}
    with client_of(context) as client:
        jobs = list(client.jobs(limit, **filters))
    if as_json:
        print_json([job.json for job in jobs])
        return
    if not jobs:
        print_note("there are no such jobs" if filters else "you have no jobs")
        return
    rows = [(job.id, job.status, f"{job.created_at:%Y-%m-%d %H:%M:%S}", job.prompt, job.ref) for job in jobs]
    print_table(("job", "status", "created (UTC)", "prompt", "ref"), rows, texts=[3, 4])
