"""What a worker and its job processes tell each other, and how it is written: pickled, each after its length.

Both run the same code as the same user, and a job process decodes no image itself, so it is trusted.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shared.settings import Settings
from shared.store.leases import Lease
from worker.job_end import JobEnd
from worker.model import Codes
from worker.stages.calibration import Calibration

_LENGTH = struct.Struct("<I")


# --- From the worker to a job process --------------------------------------------------------------------------------


@dataclass(frozen=True)
class SetUp:
    """The first message."""

    settings: Settings
    worker_id: str
    """Of the worker, in the ledger."""
    side: int
    """Of the model's images, in pixels."""
    slots: int
    """Number of images that the shared memory has room for."""
    calibration: Calibration | None


@dataclass(frozen=True)
class Run:
    """Run a job."""

    number: int
    """Of this run. The worker never uses it again."""
    lease: Lease


@dataclass(frozen=True)
class Drop:
    """Stop the work on a job."""

    number: int


@dataclass(frozen=True)
class Reply:
    """What the model answered to a call, or how it failed."""

    call: int
    value: Any
    error: Exception | None = None


@dataclass(frozen=True)
class Ping:
    """Show that you are not frozen."""


# --- From a job process to the worker --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ready:
    """It waits for jobs."""


@dataclass(frozen=True)
class Ask:
    """A call: the answers to the views of a picture, as `list[WrittenAnswer]`."""

    call: int
    """Number of the call, by which its reply is known. A process never uses it again."""
    number: int
    """Of the run that asks. When its job is dropped, it gets no answer."""
    prompt: str
    slots: list[int]
    """Where the pixels of the views are in the shared memory."""
    digests: list[bytes]


@dataclass(frozen=True)
class DecodeMasks:
    """A call: the soft masks for these codes, as float32[N, 64, 64]."""

    call: int
    codes: Sequence[Codes]


@dataclass(frozen=True)
class Ended:
    """A job is done with."""

    number: int
    end: JobEnd


@dataclass(frozen=True)
class Pong:
    """The answer to `Ping`."""


Message = SetUp | Run | Drop | Reply | Ping | Ready | Ask | DecodeMasks | Ended | Pong


def packed(message: Message) -> bytes:
    """A message as it is sent."""
    content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


class Unpacker:
    """Puts messages together from the parts in which they arrive."""

    def __init__(self) -> None:
        self._received = bytearray()

    def feed(self, part: bytes) -> Iterator[Message]:
        """The messages that are complete with this part."""
        self._received += part
        begin = 0
        while len(self._received) - begin >= _LENGTH.size:
            end = begin + _LENGTH.size + _LENGTH.unpack_from(self._received, begin)[0]
            if end > len(self._received):
                break
            yield pickle.loads(memoryview(self._received)[begin + _LENGTH.size : end])  # noqa: S301  from the same code
            begin = end
        del self._received[:begin]
