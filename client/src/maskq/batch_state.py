"""A batch as the service described it at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskq.typed import Json

_UNFINISHED = ("queued", "processing")
_GONE = ("expired", "deleted")


@dataclass(frozen=True)
class BatchJob:
    """A job of a batch."""

    index: int
    """Of its image among those that were submitted, from 0."""
    id: str
    status: str
    """That of the job; `expired` or `deleted` once it is gone."""


@dataclass(frozen=True)
class RefusedImage:
    """An image that became no job."""

    index: int
    """Among the images that were submitted, from 0."""
    type: str
    """What is wrong, as in docs/errors.md."""
    detail: str


class BatchState:
    """A batch at one moment. `json` has all that the service said, as in docs/api.md."""

    def __init__(self, json: Json, order: Sequence[int] = ()) -> None:
        """`order`: the caller's index of each image, in the order in which they were sent; empty if it is the same."""
        self.json = json
        self._order = order

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.counts}>"

    @property
    def id(self) -> str:
        """The id of the batch."""
        return str(self.json["id"])

    @property
    def total(self) -> int:
        """Number of its jobs."""
        return int(self.json["total"])

    @property
    def counts(self) -> dict[str, int]:
        """Number of its jobs by status. `expired` and `deleted` are those that are gone."""
        return dict(self.json["counts"])

    @property
    def has_ended(self) -> bool:
        """Whether all its jobs have ended."""
        return not self.unfinished

    @property
    def entries(self) -> list[BatchJob]:
        """Its jobs, in the order of the caller's images."""
        found = (BatchJob(self._index(each), each["id"], each["status"]) for each in self.json["jobs"])
        return sorted(found, key=lambda job: job.index)

    @property
    def unfinished(self) -> list[BatchJob]:
        """Those of its jobs that have not ended."""
        return [job for job in self.entries if job.status in _UNFINISHED]

    @property
    def kept(self) -> list[BatchJob]:
        """Those of its jobs that the service still has."""
        return [job for job in self.entries if job.status not in _GONE]

    @property
    def refused(self) -> list[RefusedImage]:
        """The images that became no job, as far as the service has said it."""
        found = self.json.get("refused", [])
        return [RefusedImage(self._index(each), each["type"], each["detail"]) for each in found]

    def _index(self, part: Json) -> int:
        sent = int(part["index"])
        return self._order[sent] if sent < len(self._order) else sent
