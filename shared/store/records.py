"""Records as Redis returns them: bytes, and hashes as flat lists."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from shared.domain.batch import Batch
from shared.domain.job import Job


def text(value: bytes | str) -> str:
    """A value from Redis as text. Clients return bytes, but their types also allow str."""
    return value.decode() if isinstance(value, bytes) else value


def named_values(flat: Sequence[Any]) -> dict[str, Any]:
    """`[name, value, name, value, ...]`, which is how scripts return hashes, as a dict. Values stay as they are."""
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def job_from_hash(record: Mapping[Any, bytes | str]) -> Job:
    """A job from the fields of its hash in Redis.

    Raises:
        pydantic.ValidationError: the record is not that of a job.
    """
    fields = {text(name): text(value) for name, value in record.items()}
    parsed = {name: json.loads(fields[name]) for name in ("request", "webhook", "error") if name in fields}
    return Job.model_validate({**fields, **json.loads(fields.get("metrics", "{}")), **parsed})


def batch_from_hash(batch_id: str, record: Mapping[Any, bytes | str]) -> Batch:
    """A batch from the fields of its hash in Redis, without its jobs.

    Raises:
        pydantic.ValidationError: the record is not that of a batch.
    """
    fields = {text(name): text(value) for name, value in record.items()}
    parsed = {name: json.loads(fields[name]) for name in ("webhook", "refused") if name in fields}
    return Batch.model_validate({**fields, **parsed, "id": batch_id})
