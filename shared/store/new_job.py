"""A job before it is accepted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

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

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex of everything that distinguishes this request from another one. The name of the file does not:
        a client that repeats a request may have the same image in another temporary file."""
        webhook = self.webhook.url if self.webhook else ""
        request = self.request.model_dump_json(exclude={"traceparent", "file_name"}, exclude_defaults=True)
        return _digest(request, str(self.timeout_s), webhook, self.image)

    @property
    def content(self) -> str:
        """SHA-256 in hex of everything that the result depends on."""
        request = self.request
        return _digest(request.model_id, request.prompt, ",".join(request.mask_formats), self.image)


def _digest(*parts: str | bytes) -> str:
    whole = [part.encode() if isinstance(part, str) else hashlib.sha256(part).digest() for part in parts]
    return hashlib.sha256(b"\n".join(whole)).hexdigest()
