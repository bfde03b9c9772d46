"""`maskq models`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from maskq.cli.options import AsJson, client_of
from maskq.cli.output import print_json, print_table


def list_models(context: typer.Context, as_json: AsJson = False) -> None:
    """List the models of the service, the default first."""
    with client_of(context) as client:
        models = client.models()
    if as_json:
        print_json([asdict(model) for model in models])
        return
    rows = [(model.id, model.resolution, model.live_workers, model.about) for model in models]
    print_table(("model", "pixels", "workers", "about"), rows, texts=[3])
