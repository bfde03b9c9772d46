"""A job before it is accepted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from shared.domain.job import JobRequest
from shared.domain.webhook import Webhook

_DECIDES_RESULT = {"model_id", "prompt", "mask_formats", "tiles", "duplicates", "score_threshold"}
"""The fields of a request that its result depends on, beside the image."""


@dataclass(frozen=True)
class NewJob:
    """All that a submission stores."""

    id: str
    request: JobRequest
    image: bytes
    """The file as it was uploaded."""
    owner: str
    client: str
    """Whom limits count: `Caller.client`."""
    timeout_s: float | None = None
    """Seconds from acceptance until the job is canceled; None: no limit."""
    idempotency_key: str = ""
    """Empty: none."""
    webhook: Webhook | None = None
    """Where the end of the job is announced."""
    batch: str = ""
    """Id of the batch that the job belongs to; empty: none. Such a job has no idempotency key of its own."""
    batch_index: int = 0
    """Index of its image in that batch."""
    batch_fingerprint: str = ""
    """What distinguishes its image from another one at that index, without spaces."""
    share: int = 1
    """Turns of this client's jobs for each turn of a client with the share 1, and its part of what is limited."""

    @property
    def weight(self) -> int:
        """Weight of the job's flow in the fair queue."""
        return self.request.priority.weight * self.share

    @property
    def flow(self) -> str:
        """The flow that the job belongs to: all jobs of its client with its priority, which run in order."""
        return f"{self.request.priority}:{self.client}"

    @cached_property
    def image_sha256(self) -> bytes:
        """SHA-256 of the image. A large one takes some 10 ms, once: a front end computes it in a thread."""
        return hashlib.sha256(self.image).digest()

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex of everything that distinguishes this request from another one. The name of the file does not:
        a client that repeats a request may have the same image in another temporary file."""
        webhook = self.webhook.url if self.webhook else ""
        request = self.request.model_dump_json(exclude={"traceparent", "file_name"}, exclude_defaults=True)
        return _digest(request, str(self.timeout_s), webhook, self.image_sha256)

    def content(self, *, is_shared: bool) -> str:
        """SHA-256 in hex of everything that the result depends on, and of the owner unless owners share results."""
        owner = "" if is_shared else self.owner
        return _digest(self.request.model_dump_json(include=_DECIDES_RESULT), owner, self.image_sha256)


def _digest(*parts: str | bytes) -> str:
    whole = [part.encode() if isinstance(part, str) else part for part in parts]
    return hashlib.sha256(b"\n".join(whole)).hexdigest()
