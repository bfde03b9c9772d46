"""Jobs over HTTP, for tests: submit one, finish it, check an error."""

from __future__ import annotations

from typing import Any

import httpx2

from shared.store.leases import LeaseStore
from testing.factories import segmented_object, success
from testing.pictures import encoded, gradient

PNG = encoded(gradient(64, 48))


def submit(client: httpx2.Client, headers: dict[str, str] | None = None, **fields: Any) -> httpx2.Response:
    """Post a small image with the prompt `cat`."""
    files = {"image_file": ("a.png", PNG)}
    return client.post("/segment/", data={"prompt": "cat", **fields}, files=files, headers=headers)


def finish_next(leases: LeaseStore) -> None:
    """Claim the next job and finish it with `success`, as a worker would."""
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    assert leases.finish(lease, success(segmented_object()))


def assert_problem(response: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Check that the answer is a problem document of this type without internal details. Returns it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance"}
    assert (problem["type"], problem["status"]) == (code, status)
    assert "Traceback" not in response.text
    assert "/work" not in response.text
    return problem
