"""A job as the service described it at one moment."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from maskq.typed import Json

_ENDED = frozenset({"succeeded", "failed", "canceled"})


class JobState:
    """A job at one moment. It does not change; `json` has all that the service said, as in docs/api.md."""

    def __init__(self, json: Json, etag: str = "") -> None:
        """`etag` names the state; it is empty if the service did not say it."""
        self.json = json
        self.etag = etag

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.status}>"

    @property
    def id(self) -> str:
        """The id of the job."""
        return str(self.json["id"])

    @property
    def status(self) -> str:
        """`queued`, `processing`, `succeeded`, `failed` or `canceled`."""
        return str(self.json["status"])

    @property
    def has_ended(self) -> bool:
        """Whether the status will not change any more."""
        return self.status in _ENDED

    @property
    def queue_position(self) -> int | None:
        """Jobs before this one; None if it is not queued."""
        return self.json.get("queue_position")

    @property
    def prompt(self) -> str:
        """The prompt in the form of the model."""
        return str(self.json["prompt"])

    @property
    def model_id(self) -> str:
        """The model that runs it."""
        return str(self.json["model_id"])

    @property
    def ref(self) -> str | None:
        """The caller's name for the job."""
        return self.json.get("ref")

    @property
    def metadata(self) -> dict[str, Any] | None:
        """What the caller stored with the job."""
        return self.json.get("metadata")

    @property
    def file_name(self) -> str | None:
        """The name of the image's file."""
        return self.json.get("file_name")

    @property
    def created_at(self) -> datetime:
        """When it was submitted, in UTC."""
        return datetime.fromisoformat(str(self.json["created_at"]).replace("Z", "+00:00"))

    @property
    def error(self) -> Json | None:
        """`type` and `detail` of a job that has failed; else None."""
        return self.json.get("error")
