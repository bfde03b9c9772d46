"""What a request costs its API key."""

from __future__ import annotations

from fastapi import Request

from shared.domain.api_key import Charge, RequestKind

_HEAVY = frozenset({"/jobs", "/jobs/coco", "/batches/{batch_id}", "/batches/{batch_id}/coco"})
"""Routes whose requests read many jobs."""
_HEAVY_COST = 10
"""Of one of those, in reads: a list with a filter takes the store some 3 ms."""


def charge_of(request: Request) -> Charge:
    """What this request costs: a `POST` makes jobs, unless it is to a job or a batch that exists."""
    path: str = request.scope["route"].path
    if request.method == "POST" and not path.startswith(("/jobs/", "/batches/")):
        return Charge(RequestKind.SUBMIT)
    return Charge(RequestKind.READ, _HEAVY_COST if path in _HEAVY else 1)
