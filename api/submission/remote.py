"""What a submission needs from the servers of its URLs, for a bounded number of submissions at once."""

from __future__ import annotations

from api.auth.caller import Caller
from api.http.request_memory import RequestMemory
from api.shares import Shares
from api.submission.fetch_image import ImageFetcher
from shared.outbound import Outbound


class Remote:
    """Fetches images and checks the URLs of webhooks. Clients share how many at once."""

    def __init__(self, fetcher: ImageFetcher, receivers: Outbound, max_fetches: int) -> None:
        """`receivers` checks the URLs of webhooks."""
        self._fetcher = fetcher
        self._receivers = receivers
        self._requests = Shares(max_fetches, "URLs being fetched or checked")

    async def fetch(self, url: str, caller: Caller, memory: RequestMemory) -> bytes:
        """The image behind a URL.

        Raises:
            ServerBusy, ShareExceeded: too many at once; and as `ImageFetcher.fetch`.
        """
        with self._requests.holding(caller.client, share=caller.share):
            return await self._fetcher.fetch(url, memory)

    async def check(self, url: str, caller: Caller) -> None:
        """Check the URL of a webhook.

        Raises:
            ServerBusy, ShareExceeded: too many at once.
            UrlRefused: it is not allowed, or its host does not resolve.
        """
        with self._requests.holding(caller.client, share=caller.share):
            await self._receivers.check(url, caller.client)
