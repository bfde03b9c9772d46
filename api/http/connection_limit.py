"""How many connections this process takes, in all and from one client."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from api.shares import Shares

_PROXY_SHARE = 16
"""Weight of a trusted proxy: it may have 98 % of all connections, as it brings many clients. The rest is for those that
connect directly: health checks and Prometheus."""
_REFUSED = 32
"""Connections beyond the limit that stay open for a moment while their clients read why they are refused."""


class ConnectionLimit:
    """Divides the connections of one process among the clients' addresses."""

    def __init__(self, total: int, client_of: Callable[[str], str], is_proxy: Callable[[str], bool]) -> None:
        """`client_of` makes one name of all addresses that one client has."""
        self._shares = Shares(total, "open connections")
        self._client_of = client_of
        self._is_proxy = is_proxy
        self.most_at_all = total + _REFUSED
        """With more connections than these, a refused one is closed at once."""

    def place(self, address: str) -> AbstractContextManager[None]:
        """A connection of this address, while the block runs.

        Raises:
            ServerBusy, ShareExceeded: on entering the block, if there are too many.
        """
        share = _PROXY_SHARE if self._is_proxy(address) else 1
        return self._shares.holding(self._client_of(address), share=share)
