"""A job before it is accepted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

from shared.domain.job import JobRequest
from shared.domain.webhook import Webhook


@dataclass(frozen=True)
class NewJob:
    """All that a submission stores."""

    id: str
    request: JobRequest
    image: bytes
    """The file as it was uploaded."""
    owner: str
    timeout_s: float | None = None
    """Seconds from acceptance until the job is canceled; None: no limit."""
    idempotency_key: str = ""
    """Empty: none."""
    webhook: Webhook | None = None
    """Where the end of the job is announced."""
    share: int = 1
    """Turns of this owner's jobs for each turn of an owner with the share 1."""

    @property
    def weight(self) -> int:
        """Weight of the job's flow in the fair queue."""
        return self.request.priority.weight * self.share

    @property
    def flow(self) -> str:
        """The flow that the job belongs to: all jobs of its owner with its priority, which run in order."""
        return f"{self.request.priority}:{self.owner}"

    @cached_property
    def image_sha256(self) -> bytes:
        """SHA-256 of the image. A large one takes some 10 ms, once: a front end computes it in a thread."""
        return hashlib.sha256(self.image).digest()

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex of everything that distinguishes this request from another one."""
        webhook = self.webhook.url if self.webhook else ""
        request = self.request.model_dump_json(exclude={"traceparent"})
        return _digest(request, str(self.timeout_s), webhook, self.image_sha256)

    @property
    def content(self) -> str:
        """SHA-256 in hex of everything that the result depends on."""
        request = self.request
        return _digest(request.model_id, request.prompt, ",".join(request.mask_formats), self.image_sha256)


def _digest(*parts: str | bytes) -> str:
    whole = [part.encode() if isinstance(part, str) else part for part in parts]
    return hashlib.sha256(b"\n".join(whole)).hexdigest()
