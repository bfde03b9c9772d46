"""`maskq mcp`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskq.cli.options import Target
from maskq.cli.output import stderr
from maskq.packages import require

_Http = Annotated[
    str | None,
    typer.Option("--http", metavar="[HOST:]PORT", help="Serve streamable HTTP at /mcp, instead of standard input."),
]
_Allow = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow",
        metavar="FOLDER",
        help="Let agents name image files below this folder; may be repeated. [default: the working folder; over HTTP"
        " none]",
    ),
]


def serve_mcp(context: typer.Context, http: _Http = None, allow: _Allow = None) -> None:
    """Serve agents over the Model Context Protocol: they cut objects out of images. See docs/mcp.md."""
    for folder in allow or ():
        if not folder.is_dir():
            raise typer.BadParameter(f"--allow: there is no folder {folder}")
    require("mcp", "mcp")
    from maskq.mcp_server import server

    target: Target = context.obj
    if http is None:
        server.serve_stdio(target.url, target.api_key, _folders(allow))
        return
    host, port = address = server.http_address(http)
    stderr.print(f"maskq: MCP at http://{f'[{host}]' if ':' in host else host}:{port}/mcp", markup=False)
    server.serve_http(target.url, target.api_key, allow or [], address)


def _folders(allow: list[Path] | None) -> list[Path]:
    """The allowed folders. Some hosts start servers in the root folder, which would allow every file."""
    here = Path.cwd()
    return allow or ([] if here == Path(here.anchor) else [here])
