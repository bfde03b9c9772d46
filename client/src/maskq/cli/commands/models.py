"""`maskq models`."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.table import Table

from maskq.cli.options import AsJson, client_of
from maskq.cli.output import print_json, stdout


def list_models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models of the service, the default first."""
    with client_of(context) as client:
        models = client.models()
    if as_json:
        print_json([asdict(model) for model in models])
        return
    table = Table("model", "pixels", "workers", "about")
    for model in models:
        table.add_row(model.id, str(model.resolution or ""), str(model.live_workers), model.about)
    stdout.print(table)
