"""A bounded resource of this process, divided among clients by `shared.domain.fair_share`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from shared.domain.fair_share import is_within_share
from shared.errors import ServerBusy, ShareExceeded


class Shares:
    """Counts what clients use of one resource. For one event loop; not thread-safe."""

    def __init__(self, total: int, what: str) -> None:
        """`total` is the whole resource; `what` names it in errors: "uploads in progress"."""
        self._total = total
        self._what = what
        self._used: Counter[str] = Counter()  # a name that it lacks reads as 0
        self.in_use = 0
        """What all clients use together."""

    def take(self, client: str, amount: int = 1, share: int = 1) -> None:
        """Use `amount` more. Whoever takes also frees.

        Raises:
            ServerBusy: the resource is used up.
            ShareExceeded: this client would use more than its share.
        """
        in_use, used = self.in_use + amount, self._used[client] + amount
        has_some = used > amount
        if has_some and not is_within_share(used, in_use, self._total, share):
            raise ShareExceeded(f"you have your share of {self._what}; wait for some of yours to end")
        if in_use > self._total:
            raise ServerBusy(f"there are too many {self._what}; try again in a moment")
        self.in_use, self._used[client] = in_use, used

    def free(self, client: str, amount: int = 1) -> None:
        """Use `amount` less."""
        self.in_use -= amount
        self._used[client] -= amount
        if not self._used[client]:
            del self._used[client]

    @contextmanager
    def holding(self, client: str, amount: int = 1, share: int = 1) -> Iterator[None]:
        """Use `amount` for the time of a block.

        Raises:
            ServerBusy, ShareExceeded: as `take`.
        """
        self.take(client, amount, share)
        try:
            yield
        finally:
            self.free(client, amount)
