"""A page of an owner's jobs, and the position after it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from shared.domain.job import Job, JobStatus
from shared.errors import InvalidField
from shared.store.lua_script import Reply
from shared.store.records import job_from_hash, named_values, text

CURSOR = r"^([0-9]{1,15}-[0-9a-f-]{36})?$"
"""A regular expression for cursors: milliseconds and a job's id; or empty for the newest job."""


_MAX_NAMED_CHARS = 40
"""How much of a wrong value an error repeats."""


@dataclass(frozen=True)
class ListPosition:
    """A position in an owner's list, which is ordered by time and id. It stays valid when the job is removed."""

    ms: int
    """When the last job before it was accepted, in Unix milliseconds."""
    job_id: str
    """The id of that job."""

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """The position from its text.

        Raises:
            InvalidField: it is not the text of a position.
        """
        if not cursor or not re.fullmatch(CURSOR, cursor):
            raise InvalidField("cursor: must be `next_cursor` of an earlier page")
        ms, _, job_id = cursor.partition("-")
        return cls(int(ms), job_id)

    def __str__(self) -> str:
        return f"{self.ms}-{self.job_id}"


@dataclass(frozen=True)
class JobFilter:
    """Which jobs of an owner a list has."""

    statuses: frozenset[JobStatus] = frozenset()
    """The states that it has; empty for all."""
    ref: str = ""
    """The reference that they were submitted with, exactly; empty for any."""

    @classmethod
    def parse(cls, statuses: Iterable[str], ref: str) -> Self:
        """The filter of a request. Each of `statuses` is one state, or several with commas between them.

        Raises:
            InvalidField: a state is unknown.
        """
        names = {name.strip() for text in statuses for name in text.split(",")} - {""}
        if unknown := sorted(names - set(JobStatus)):
            raise InvalidField(f"status: {unknown[0][:_MAX_NAMED_CHARS]!r} is none of {', '.join(JobStatus)}")
        return cls(frozenset(map(JobStatus, names)), ref)


ALL_JOBS = JobFilter()
"""A list with all jobs."""


@dataclass(frozen=True)
class JobList:
    """Some of an owner's jobs, newest first."""

    jobs: list[Job]
    next_cursor: str | None
    """Where to go on; None if these were the last."""

    @classmethod
    def from_reply(cls, reply: Reply) -> Self:
        """From what `list.lua` returned."""
        jobs = [job_from_hash(named_values(record)) for record in reply["records"]]
        if "last_id" not in reply:
            return cls(jobs, None)
        return cls(jobs, str(ListPosition(int(reply["last_ms"]), text(reply["last_id"]))))
