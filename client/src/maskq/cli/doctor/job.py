"""One small job, from end to end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from maskq.cli.doctor.finding import Finding, failure, ok, warning
from maskq.cli.exit_status import ExitStatus
from maskq.client import Client
from maskq.errors import MaskqError
from maskq.packages import require

if TYPE_CHECKING:
    import PIL.Image

_PROMPT = "red circle"
_WAIT_S = 120.0
_SIDE = 224


def examine_job(client: Client) -> Iterator[Finding]:
    """Segment a drawn picture, read its mask, and delete the job."""
    begin = time.monotonic()
    try:
        result = client.segment(_picture(), _PROMPT, wait_s=_WAIT_S, file_name="doctor.png")
        masks = [found.mask for found in result]
        client.job(result.job.id).delete()
    except (MaskqError, ValueError) as error:
        status = ExitStatus.of(error) if isinstance(error, MaskqError) else ExitStatus.FAILED
        yield failure("job", str(error), "docs/errors.md explains the errors of the service", status)
        return
    took_s = time.monotonic() - begin
    if masks:
        yield ok("job", f"a drawn picture was segmented and deleted within {took_s:.1f} s")
    else:
        text = f"the job has ended within {took_s:.1f} s, and the model did not find the {_PROMPT}"
        yield warning("job", text, "Try your own image: another model may not know drawings")


def _picture() -> PIL.Image.Image:
    picture = require("PIL.Image", "cli").new("RGB", (_SIDE, _SIDE), "white")
    circle = [_SIDE // 4, _SIDE // 4, 3 * _SIDE // 4, 3 * _SIDE // 4]
    require("PIL.ImageDraw", "cli").Draw(picture).ellipse(circle, fill="red")
    return picture  # type: ignore[no-any-return]
