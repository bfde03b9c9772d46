"""All commands together."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from maskq.cli.commands import batch, labelstudio, mcp, models
from maskq.cli.exit_status import ExitStatus
from maskq.cli.options import ApiKey, Target, Url
from maskq.cli.output import print_error
from maskq.errors import MaskqError

app = typer.Typer(
    name="maskq",
    help="Cut objects out of images by name, with a maskq service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def configure(context: typer.Context, url: Url = None, api_key: ApiKey = None) -> None:
    """Cut objects out of images by name, with a maskq service."""
    context.obj = Target(url, api_key)


app.command("models")(models.list_models)
app.command("batch")(batch.segment_many)
app.command("mcp")(mcp.serve_mcp)
app.command("labelstudio")(labelstudio.serve_labelstudio)


def run(arguments: Sequence[str]) -> int:
    """Run one command. Returns an exit status; errors are a line on standard error."""
    try:
        status = app(list(arguments), prog_name="maskq", standalone_mode=False)
    except MaskqError as error:
        print_error(str(error))
        return ExitStatus.of(error)
    except typer.TyperException as error:
        print_error(error.format_message())
        return ExitStatus.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return ExitStatus.INTERRUPTED
    return int(status or ExitStatus.OK)
