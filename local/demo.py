"""Starts the service with the demo checkpoint, sends it the sample image and prints the finished job.

MASKQ_MODEL_ID=emoji starts it with the other small checkpoint, and sends that one's sample.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

from local.broker import make_folder
from local.up import LocalService, StartFailed, add_arguments, run_service, say
from shared.process import entry_point
from shared.process.command_line import CommandLine
from shared.process.environment import load_settings
from shared.registry import served_model
from shared.settings import ModelSettings

_DEMO = Path("models/demo")
_RESULT_S = 60.0


def main() -> int:
    """Run one job, then stay up unless `--once`. Returns an exit status."""
    parser = CommandLine(prog="scripts/demo", description=__doc__)
    add_arguments(parser)
    parser.set_defaults(workers=1)
    parser.add_argument("--once", action="store_true", help="stop after the sample image")
    options = parser.parse_args()
    make_folder(options.data)
    log_path = options.data / "demo.log"
    say(f"starting broker, front end, webhooks and {options.workers} worker(s); their output goes to {log_path}")
    with log_path.open("wb") as log:
        status = run_service(options, partial(_demonstrate, options), log)
    if status == 1:
        say(f"the end of {log_path}:")
        print("\n".join(log_path.read_text("utf-8", "replace").splitlines()[-20:]), file=sys.stderr)
    return status


def _demonstrate(options: argparse.Namespace, service: LocalService) -> None:
    _show_sample(service, options.data / "demo-overlay.png")
    if not options.once:
        say(f"ready on {service.url} - open it in a browser; Ctrl-C stops it")
        service.stay_up()


def _show_sample(service: LocalService, overlay: Path) -> None:
    """Submit the sample, wait for its end, print the job and save the overlay.

    Raises:
        StartFailed: the job did not succeed within a minute.
    """
    folder = sample_folder(load_settings().model)
    prompt = json.loads((folder / "sample.json").read_text("utf-8"))["prompt"]
    image = base64.b64encode((folder / "sample.jpg").read_bytes()).decode("ascii")
    say(f'POST {service.url}/segment/ with {folder / "sample.jpg"} and "{prompt}"')
    job = _call(f"{service.url}/segment/", {"prompt": prompt, "image_base64": image})
    address = f"{service.url}/jobs/{job['id']}"  # the links in the job may lead to a proxy in front of this machine
    deadline = time.monotonic() + _RESULT_S
    while job["status"] in ("queued", "processing") and time.monotonic() < deadline:
        job = _call(f"{address}?wait=10")
    print(json.dumps(job, indent=2))
    if job["status"] != "succeeded":
        raise StartFailed(f"the sample job {job['status']}")
    with urllib.request.urlopen(f"{address}/overlay.png", timeout=30) as answer:  # noqa: S310  our own address
        overlay.write_bytes(answer.read())
    say(f"{len(job['result']['objects'])} object(s) found; drawn over the image in {overlay}")


def sample_folder(settings: ModelSettings) -> Path:
    """The folder of the served model if it has a sample, as those of this project have; else that of the demo."""
    folder = served_model(settings).folder
    return folder if folder and (folder / "sample.json").exists() else _DEMO


def _call(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310  our own address
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  our own address
        job: dict[str, Any] = json.load(answer)
        return job


if __name__ == "__main__":
    entry_point.run(main)
