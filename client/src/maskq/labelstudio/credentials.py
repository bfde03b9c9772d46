"""The token of a user of Label Studio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import httpx2

from maskq.labelstudio.problems import NoPrediction

_RENEW_AFTER_S = 120.0
"""Label Studio's access tokens are valid for 5 minutes."""


class Credentials:
    """Makes the header for a request. A legacy token is sent as it is; a personal access token buys access tokens."""

    def __init__(self, http: httpx2.AsyncClient, label_studio: str, token: str) -> None:
        self._http = http
        self._url = f"{label_studio}/api/token/refresh"
        self._token = token
        self._access = ""
        self._renewed_at = float("-inf")
        self._lock = asyncio.Lock()

    async def header(self) -> Mapping[str, str]:
        """The header that says who asks; none without a token.

        Raises:
            NoPrediction: Label Studio does not accept the token.
        """
        if self._token.count(".") != 2:  # a personal access token is a JSON Web Token: three parts
            return {"Authorization": f"Token {self._token}"} if self._token else {}
        async with self._lock:
            if time.monotonic() - self._renewed_at > _RENEW_AFTER_S:
                self._access = await self._new_access()
                self._renewed_at = time.monotonic()
        return {"Authorization": f"Bearer {self._access}"}

    async def _new_access(self) -> str:
        try:
            answer = await self._http.post(self._url, json={"refresh": self._token})
            return str(answer.raise_for_status().json()["access"])
        except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            raise NoPrediction(f"Label Studio does not accept the personal access token: {error}") from error
