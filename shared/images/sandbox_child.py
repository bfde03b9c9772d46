"""The child process that decodes images, one at a time. Only `shared.images.sandbox` starts it.

A request or reply is one line of JSON, followed by bytes. A hostile image can harm only this process. Its memory and
CPU time are limited, it cannot write files, and it inherits no open files, sockets or secrets.
"""

from __future__ import annotations

import json
import math
import resource
import sys
from typing import Any, BinaryIO

from PIL import Image

from shared.errors import ImageUnreadable, MaskqError
from shared.images.decode import decode

_Limit = tuple[int, int]


def main() -> None:
    """Reply to requests until standard input ends. Arguments: memory in bytes, and CPU time per image in seconds."""
    memory_bytes, cpu_s = map(int, sys.argv[1:])
    _limit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    _limit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_FSIZE, (0, 0))
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    while line := requests.readline():
        request = json.loads(line)
        data = requests.read(request["bytes"])
        _limit_cpu(cpu_s)
        _reply(replies, *_decoded(data, request["max_pixels"], tuple(request["size"])))


def _decoded(data: bytes, max_pixels: int, size: tuple[int, int]) -> tuple[dict[str, Any], bytes]:
    try:
        picture = decode(data, max_pixels, size)
        pixels = picture.image.resize(size, Image.Resampling.BICUBIC).tobytes()
    except MemoryError:
        error: MaskqError = ImageUnreadable("it takes more memory to decode than an image may")
    except MaskqError as refusal:
        error = refusal
    else:
        return {"width": picture.width, "height": picture.height, "notes": list(picture.notes)}, pixels
    return {"error": error.type, "detail": error.detail}, b""


def _reply(replies: BinaryIO, head: dict[str, Any], body: bytes) -> None:
    replies.write(json.dumps(head).encode() + b"\n")
    replies.write(body)
    replies.flush()


def _limit_cpu(cpu_s: int) -> None:
    """Let the kernel end this process with SIGXCPU if the next image takes more CPU time. Wall time would depend on the
    load of the machine."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(used.ru_utime + used.ru_stime) + cpu_s
    _limit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


def _limit(what: int, limit: _Limit) -> None:
    """Set a limit, unless the present one is lower. macOS has limits on memory but does not enforce them."""
    _, hard = resource.getrlimit(what)
    try:
        if hard == resource.RLIM_INFINITY or limit[0] <= hard:
            resource.setrlimit(what, (limit[0], hard if limit[1] == resource.RLIM_INFINITY else min(limit)))
    except (OSError, ValueError):
        sys.stderr.write(f"the limit {what} of the decoder could not be set\n")


if __name__ == "__main__":
    main()
