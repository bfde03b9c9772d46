"""All commands together."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from maskq.cli.commands import batch, cancel, doctor, job, jobs, labelstudio, mcp, models, segment, server
from maskq.cli.exit_status import ExitStatus
from maskq.cli.options import ApiKey, Target, Url
from maskq.cli.output import OutputClosed, discard_output, print_error, print_line, text_of
from maskq.errors import MaskqError

app = typer.Typer(
    name="maskq",
    help="Cut objects out of images by name, with a maskq service.",
    epilog="Exit status: " + ", ".join(f"{status.value} {status.short}" for status in ExitStatus) + ".",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_BEFORE = ("--url", "--api-key")


def _show_version(is_asked: bool) -> None:
    if is_asked:
        try:
            print_line(f"maskq {version('maskq')}")
        except PackageNotFoundError:
            print_line("maskq, not installed")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")]


@app.callback()
def configure(context: typer.Context, url: Url = None, api_key: ApiKey = None, version: Version = False) -> None:
    """Cut objects out of images by name, with a maskq service."""
    context.obj = Target(url, api_key)


app.command("segment")(segment.segment)
app.command("jobs")(jobs.list_jobs)
app.command("job")(job.show_job)
app.command("cancel")(cancel.cancel_jobs)
app.command("models")(models.list_models)
app.command("doctor")(doctor.examine)
for name in server.COMMANDS:
    app.command(name, add_help_option=False, context_settings=server.PASS_ON)(server.command(name))
app.command("batch")(batch.segment_many)
app.command("mcp")(mcp.serve_mcp)
app.command("labelstudio")(labelstudio.serve_labelstudio)


def run(arguments: Sequence[str]) -> int:
    """Run one command. Returns an exit status; errors are a line on standard error."""
    try:
        status = app(list(arguments) or ["--help"], prog_name="maskq", standalone_mode=False)
    except MaskqError as error:
        print_error(text_of(error))
        return ExitStatus.of(error)
    except typer.TyperException as error:
        print_error(f"{error.format_message().rstrip('.')}. {_advice(error)}")
        return ExitStatus.USAGE
    except (KeyboardInterrupt, typer.Abort):
        return ExitStatus.INTERRUPTED
    except OutputClosed:
        return ExitStatus.OUTPUT_CLOSED
    except Exception as error:
        if sys.flags.dev_mode:  # python -X dev -m maskq
            raise
        if isinstance(error, OSError):
            with suppress(OSError):  # a full disk: Python would complain again at its end
                discard_output()
        print_error(str(error) if isinstance(error, OSError) else f"unexpected {type(error).__name__}: {error}")
        return ExitStatus.FAILED
    return int(status or ExitStatus.OK) if arguments else ExitStatus.USAGE


def _advice(error: typer.TyperException) -> str:
    """What to do about a wrong command line."""
    if getattr(error, "option_name", "") in _BEFORE:
        return f"{' and '.join(_BEFORE)} come before the command: maskq --url URL models"
    context = getattr(error, "ctx", None)
    return f"See {context.command_path if context else 'maskq'} --help"
