"""What an operation asks of its driver. Operations decide everything and do no input or output themselves.

An operation is a generator. It yields steps, receives the reply to each, and returns its result. `driver.py` drives
operations with blocking calls, `async_driver.py` with an event loop.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from maskq.errors import RequestError

T = TypeVar("T")
SUBMIT, READ = "submit", "read"
"""The two kinds of requests. The service limits them differently."""


@dataclass(frozen=True)
class Request:
    """One HTTP request."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str | list[str]] = field(default_factory=dict)
    """The texts of a form."""
    files: Sequence[tuple[str, tuple[str | None, bytes]]] = ()
    """Further parts of the form: the field, the name of the file (None: the part is a text), and the content."""
    json: Any = None
    """The body as JSON; None for a form, or nothing."""
    wait_s: float = 0.0
    """Seconds that the service may take before it begins to answer, beyond what an answer takes anyway."""
    kind: str = READ
    cost: int = 1
    """How many requests of its kind it counts for."""


@dataclass(frozen=True)
class Answer:
    """What the service answered. `headers` has names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the service did what was asked, or says that the client has the newest state (304)."""
        return self.status < 300 or self.status == 304

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            RequestError: it is none: something else than the service answered.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise RequestError(
                self.status, "no_json", "The answer is no JSON", "is this the URL of maskq?", ""
            ) from None


@dataclass(frozen=True)
class NoAnswer:
    """No answer, or only a part of one, arrived."""

    reason: str
    is_final: bool = False
    """Whether a repetition would have the same end."""


@dataclass(frozen=True)
class Send:
    """Send this request, and reply with an `Answer` or `NoAnswer`."""

    request: Request


@dataclass(frozen=True)
class Pause:
    """Do nothing for a while."""

    seconds: float


Step = Send | Pause
Reply = Answer | NoAnswer | None
"""To `Send`: an answer or none. To `Pause`, and at the beginning: None."""
Operation = Generator[Step, Reply, T]
