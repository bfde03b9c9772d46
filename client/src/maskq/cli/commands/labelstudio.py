"""`maskq labelstudio`."""

from __future__ import annotations

import logging
from typing import Annotated

import typer

from maskq.cli.options import AsJson, Target
from maskq.cli.output import print_json, stderr
from maskq.configuration import Configuration
from maskq.packages import require

_LOOPBACK = ("127.0.0.1", "::1", "localhost")

_Port = Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on. 0: one that is free.")]
_Host = Annotated[str, typer.Option(help="Address to listen on. With any other, give a user too.")]
_Url = Annotated[str, typer.Option(envvar="LABEL_STUDIO_URL", show_envvar=True, help="URL of Label Studio.")]
_Token = Annotated[
    str,
    typer.Option(
        envvar="LABEL_STUDIO_API_KEY",
        show_envvar=True,
        help="Token, personal or legacy, of a user who may read the images; better given in the environment.",
    ),
]
_Hosts = Annotated[
    list[str] | None,
    typer.Option(
        help="Another host that may have images: NAME, NAME:PORT or *.NAME; may be repeated. '*': the service"
        " fetches all public addresses."
    ),
]
_Model = Annotated[str | None, typer.Option(help="Model. [default: that of the service]")]
_Threshold = Annotated[float | None, typer.Option(min=0, max=1, help="Objects with a lower score are left out.")]
_Concurrency = Annotated[int, typer.Option(min=1, max=1_000, help="Tasks at one time.")]
_Within = Annotated[float, typer.Option(min=1, help="Seconds until /predict answers with what is ready.")]
_User = Annotated[
    str, typer.Option(envvar="BASIC_AUTH_USER", show_envvar=True, help="User that Label Studio logs in as.")
]
_Password = Annotated[
    str, typer.Option(envvar="BASIC_AUTH_PASS", show_envvar=True, help="Its password; better given in the environment.")
]


def serve_labelstudio(
    context: typer.Context,
    port: _Port = 9090,
    host: _Host = "127.0.0.1",
    label_studio_url: _Url = "http://localhost:8080",
    label_studio_token: _Token = "",
    allow_host: _Hosts = None,
    model: _Model = None,
    score_threshold: _Threshold = None,
    concurrency: _Concurrency = 8,
    answer_within: _Within = 90.0,
    basic_auth_user: _User = "",
    basic_auth_password: _Password = "",
    as_json: AsJson = False,
) -> None:
    """Serve predictions to Label Studio, as a machine learning backend."""
    for package in ("starlette", "uvicorn"):
        require(package, "labelstudio")
    from maskq.labelstudio.backend import BackendOptions
    from maskq.labelstudio.basic_auth import BasicAuth
    from maskq.labelstudio.process import serve
    from maskq.labelstudio.server import create_app

    target: Target = context.obj
    if bool(basic_auth_user) != bool(basic_auth_password):
        raise typer.BadParameter("--basic-auth-user and --basic-auth-password belong together")
    options = BackendOptions(
        label_studio_url,
        label_studio_token.strip(),
        tuple(allow_host or ()),
        model,
        score_threshold,
        concurrency,
        answer_within,
    )
    login = BasicAuth(basic_auth_user, basic_auth_password) if basic_auth_user else None
    app = create_app(options, Configuration.of(target.url, target.api_key), login)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO)
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would write URLs with signatures

    if not (login or host in _LOOPBACK):
        logging.getLogger("maskq.labelstudio").warning("others can read your images through %s: give a user", host)

    def tell(url: str) -> None:
        if as_json:
            print_json({"url": url, "label_studio_url": label_studio_url})
        else:
            stderr.print(f"maskq: serves Label Studio at {url}", markup=False, highlight=False)

    serve(app, host, port, tell)
