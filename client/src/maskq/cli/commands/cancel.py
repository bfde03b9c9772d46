"""`maskq cancel`."""

from __future__ import annotations

from typing import Annotated

import typer

from maskq.cli.completion import job_ids
from maskq.cli.exit_status import ExitStatus
from maskq.cli.options import AsJson, client_of
from maskq.cli.output import print_error, print_json, print_line
from maskq.client import Client
from maskq.errors import RequestError
from maskq.typed import Json

JobIds = Annotated[
    list[str], typer.Argument(metavar="ID...", help="Ids of jobs.", show_default=False, autocompletion=job_ids)
]


def cancel_jobs(context: typer.Context, job_ids: JobIds, as_json: AsJson = False) -> int:
    """Cancel jobs: they will have no result. A job that was canceled before is no error."""
    with client_of(context) as client:
        canceled = [job for job in [_cancel(client, job_id) for job_id in dict.fromkeys(job_ids)] if job]
    if as_json:
        print_json(canceled)
    else:
        for job in canceled:
            print_line(f"{job['id']} {job['status']}")
    return ExitStatus.OK if len(canceled) == len(dict.fromkeys(job_ids)) else ExitStatus.REFUSED


def _cancel(client: Client, job_id: str) -> Json | None:
    try:
        return client.job(job_id).cancel().json
    except RequestError as error:
        print_error(f"{job_id}: {error}")
        return None
