"""Reads `RateLimit`, `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10) and `Retry-After` (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

_MAX_CHARS = 1_000
"""Longest header that is read; real ones are far shorter."""
_ITEM = re.compile(r'"([^"]*)"((?:\s*;\s*[a-z]+=[0-9.]+)*)')
_PARAMETER = re.compile(r"([a-z]+)=(\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Limit:
    """What the service says about one limit of the client's API key, such as `submit`."""

    quota: float
    """Requests at once."""
    per_s: float
    """Requests per second in the long run."""
    remaining: float
    """Requests that may be sent at once after the answered one."""


def limits_of(headers: Mapping[str, str]) -> dict[str, Limit]:
    """The limits in the headers of an answer, by name. What has no window or cannot be read is left out."""
    policies = dict(_items(headers.get("ratelimit-policy", "")))
    return {
        name: Limit(policies[name]["q"], policies[name]["q"] / policies[name]["w"], state["r"])
        for name, state in _items(headers.get("ratelimit", ""))
        if "r" in state and policies.get(name, {}).get("q") and policies[name].get("w")
    }


def _items(header: str) -> Iterator[tuple[str, dict[str, float]]]:
    for name, parameters in _ITEM.findall(header[:_MAX_CHARS]):
        yield name, {key: float(value) for key, value in _PARAMETER.findall(parameters)}


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait before the next request; None if the answer does not say."""
    text = headers.get("retry-after", "")[:_MAX_CHARS].strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=timezone.utc)
    return max(0.0, (at - datetime.now(timezone.utc)).total_seconds())
