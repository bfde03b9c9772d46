"""Generates a client of a service with openapi-python-client, calls it, and prints what happened as JSON. Runs in the
environment of that tool, without maskq: python generated_client.py URL API_KEY, in a folder with `image.png`.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_CONFIG = "content_type_overrides:\n  image/png: application/octet-stream\n"
"""openapi-python-client knows no other name for bytes."""


def _generate(url: str) -> None:
    """Write the client as the package `made`. A warning would mean that something is missing in it."""
    Path("config.yaml").write_text(_CONFIG)
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--url", f"{url}/openapi.json"]
    options = ["--meta", "none", "--output-path", "made", "--config", "config.yaml", "--fail-on-warning"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # it runs ruff
    subprocess.run([*command, *options], check=True, stdout=sys.stderr, env={**os.environ, "PATH": path})
    sys.path.insert(0, str(Path.cwd()))


def _call(url: str, key: str) -> dict[str, Any]:
    from made import AuthenticatedClient
    from made.api.jobs import get_job, get_mask, get_overlay, list_jobs, submit_job
    from made.models import (
        FormSubmission,
        JobStatus,
        JsonSubmission,
        JsonSubmissionMetadata,
        MaskFormat,
        Priority,
        UrlencodedSubmission,
    )
    from made.types import File

    content = Path("image.png").read_bytes()
    image = File(payload=io.BytesIO(content), file_name="image.png", mime_type="image/png")
    text = base64.b64encode(content).decode()
    options: dict[str, Any] = {"priority": Priority.HIGH, "mask_format": [MaskFormat.RLE, MaskFormat.PNG]}
    metadata = JsonSubmissionMetadata()
    metadata["camera"] = 3
    bodies = {
        "form": FormSubmission(prompt="cat", image_file=image, ref="form", **options),
        "json": JsonSubmission(prompt="cat", image_base64=text, metadata=metadata, ref="json", **options),
        "urlencoded": UrlencodedSubmission(prompt="cat", image_url=f"data:image/png;base64,{text}", ref="urlencoded"),
    }
    found: dict[str, Any] = {}
    with AuthenticatedClient(url, token=key) as client:
        for name, body in bodies.items():
            accepted = submit_job.sync(client=client, body=body)
            ended = get_job.sync(accepted.id, client=client, wait=30.0)
            mask = get_mask.sync(accepted.id, 0, client=client).payload.read()
            found[name] = {"job": ended.to_dict(), "mask": base64.b64encode(mask).decode()}
        overlay = get_overlay.sync(accepted.id, client=client).payload.read()
        found["overlay"] = base64.b64encode(overlay).decode()
        page = list_jobs.sync(client=client, status=[JobStatus.SUCCEEDED])
        found["refs"] = [job.ref for job in page.jobs]
        refused = submit_job.sync(client=client, body=FormSubmission(prompt="cat"))
        found["refused"] = refused.to_dict()
    return found


if __name__ == "__main__":
    _generate(sys.argv[1])
    print(json.dumps(_call(*sys.argv[1:])))
