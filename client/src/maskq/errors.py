"""All errors of this package. `MaskqError` is the base of every one of them.

MaskqError
├── ConfigurationError      the URL or the API key cannot be used
├── MissingPackage          an extra of this package is not installed
├── ImageError              the image cannot be read on this side
├── MaskUnavailable         the result has no run lengths
├── ConnectionFailed        the service did not answer
├── RequestError            the service refused; one subclass for each `type` of docs/errors.md
├── WaitTimeout             the job has not ended in time; it goes on
└── JobUnsuccessful         the job has ended without a result
    ├── JobFailed
    └── JobCanceled
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import ClassVar

from maskq.typed import Json, Self


class MaskqError(Exception):
    """The base of all errors of this package."""


class ConfigurationError(MaskqError):
    """The URL of the service or the API key cannot be used."""


class MissingPackage(MaskqError):
    """What was asked for needs a package that is not installed. The message names the extra."""


class ImageError(MaskqError):
    """The image cannot be read: there is no such file, or it is no kind of image that the client knows."""


class MaskUnavailable(MaskqError):
    """The job was submitted without `rle` in its `mask_format`, so there are no run lengths to make a mask of."""


class ConnectionFailed(MaskqError):
    """The service did not answer, although the request was repeated. A submitted job may exist."""


class JobUnsuccessful(MaskqError):
    """The job has ended without a result."""

    def __init__(self, job: Json) -> None:
        error = job.get("error") or {}
        self.job_id: str = job["id"]
        """The id of the job."""
        self.type: str = error.get("type") or str(job["status"])
        """What happened, as in docs/errors.md."""
        self.detail: str = error.get("detail") or ""
        """A sentence about it; it may be empty."""
        super().__init__(f"job {self.job_id}: {self.detail or self.type}")


class JobFailed(JobUnsuccessful):
    """The job has failed. `type` says why."""


class JobCanceled(JobUnsuccessful):
    """The job was canceled, by a client or because its `timeout` was over."""


class WaitTimeout(MaskqError):
    """The job has not ended in the time that the caller gave it. It goes on: `client.job(error.job_id)`."""

    def __init__(self, job_id: str, waited_s: float, what: str = "job") -> None:
        """`what` has this id: a job, or a batch."""
        self.job_id = job_id
        """The id of the job, or of the batch that was waited for."""
        super().__init__(f"{what} {job_id} has not ended within {waited_s:g} s; it goes on")


class RequestError(MaskqError):
    """The service refused a request. Each subclass stands for the `type` that has its name; a type that this version
    does not know is a plain `RequestError`."""

    _by_type: ClassVar[dict[str, type[RequestError]]] = {}

    def __init_subclass__(cls) -> None:
        cls._by_type[re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()] = cls

    def __init__(self, status: int, type: str, title: str, detail: str, request_id: str) -> None:  # noqa: A002
        self.status = status
        """The HTTP status."""
        self.type = type
        """What happened. It is stable."""
        self.title = title
        """The same for people."""
        self.detail = detail
        """What was wrong with this request; it may be empty."""
        self.request_id = request_id
        """The id of the request in the logs of the service; it may be empty."""
        about = f"{title}: {detail}" if detail not in ("", title) else title
        super().__init__(f"{about} ({status} {type}, request {request_id or 'unknown'})")

    def __reduce__(self) -> tuple[type[Self], tuple[int, str, str, str, str]]:
        return type(self), (self.status, self.type, self.title, self.detail, self.request_id)

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], body: bytes) -> RequestError:
        """The error for an answer. One that is no problem document, such as that of a proxy, has the phrase of its
        status as title and type."""
        problem = _problem(body)
        phrase = _phrase(status)
        code = str(problem.get("type") or phrase.lower().replace(" ", "_"))
        title, detail = str(problem.get("title") or phrase), str(problem.get("detail") or "")
        if not problem and "location" in headers:
            detail = f"the service is at {headers['location']}"
        return cls._by_type.get(code, cls)(status, code, title, detail, headers.get("x-request-id", ""))


def _problem(body: bytes) -> Json:
    try:
        problem = json.loads(body)
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP {status}"


class MalformedRequest(RequestError):
    """The service could not read the request."""


class KeyRequired(RequestError):
    """The service needs an API key, or does not know this one."""


class ScopeMissing(RequestError):
    """The API key may not do this."""


class LinkInvalid(RequestError):
    """The signed URL was changed, or its API key was revoked."""


class LinkExpired(LinkInvalid):
    """The time of the signed URL is over."""


class CrossSiteRequest(RequestError):
    """The service took the request for one of another site's page."""


class MisdirectedRequest(RequestError):
    """The service does not know the host name in the URL."""


class JobNotFound(RequestError):
    """There is no such job, or it belongs to somebody else."""


class BatchNotFound(RequestError):
    """There is no such batch, it belongs to somebody else, or it has expired."""


class BatchClosed(RequestError):
    """The batch was canceled, deleted or has expired, so it takes no more images."""


class BatchRefused(RequestError):
    """The service can use none of the images of the batch."""


class MaskNotFound(RequestError):
    """The result has no mask with this number."""


class JobEnded(RequestError):
    """The job has ended, so it cannot be canceled."""


class NothingToDeliver(RequestError):
    """The job has no webhook that could be delivered."""


class ResultNotReady(RequestError):
    """The job has no result."""


class ImageExpired(RequestError):
    """The service no longer has the image."""


class JobDeleted(RequestError):
    """The job was deleted."""


class JobExpired(RequestError):
    """The service no longer has the job."""


class ImageTooLarge(RequestError):
    """The image has too many pixels."""


class PayloadTooLarge(RequestError):
    """The image has too many bytes."""


class UnsupportedImage(RequestError):
    """The image is in none of the accepted formats."""


class UnsupportedEncoding(RequestError):
    """The service accepts no compressed requests."""


class ImageUnreadable(RequestError):
    """The image is damaged."""


class IdempotencyMismatch(RequestError):
    """The idempotency key was used for another request before."""


class InvalidField(RequestError):
    """A field is missing, unknown or wrong. `detail` names it."""


class UrlRefused(RequestError):
    """The service may not or cannot fetch this URL."""


class HeadersTooLarge(RequestError):
    """The headers of the request are too long."""


class RequestTimedOut(RequestError):
    """The request took too long to arrive."""


class QueueFull(RequestError):
    """Too many jobs wait."""


class RateLimited(RequestError):
    """The API key has sent too many requests."""


class ShareExceeded(RequestError):
    """This client uses its share of what the service has."""


class ModelUnserved(RequestError):
    """No worker serves this model now."""


class ServerBusy(RequestError):
    """The service has too much to do."""


class StoreFull(RequestError):
    """The memory of the service is nearly used up."""


class StoreUnavailable(RequestError):
    """The service cannot reach its store."""


class StoreUnconfirmed(StoreUnavailable):
    """The service has made the change, and a failover of its store may forget it: repeat the request."""


class InternalError(RequestError):
    """A mistake of the service."""
