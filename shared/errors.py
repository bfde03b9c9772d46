"""Every error that maskq raises on purpose: one tree, stable codes, messages that are safe to show to a client.

An error that may reach a client has a `type` (a stable code to branch on), a `title` (the same for every error of its
type) and a `detail` (what happened this time, and what to do). Nothing else of it ever leaves the process.
"""

from __future__ import annotations

from typing import ClassVar


class MaskqError(Exception):
    """An unexpected error. The log has its cause.

    The root of the tree. `detail` must be safe to show to a client: no paths, addresses or stack traces.
    """

    type: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    retry_after_s: float | None = None
    """Seconds after which to try again. None: the same request would fail again."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


# --- Errors of requests: `status` is the HTTP status -----------------------------------------------------------------


class MalformedRequest(MaskqError):
    """The body is neither a multipart form nor a JSON object, or not the one that its Content-Type names."""

    type, title, status = "malformed_request", "The request could not be read", 400


class KeyRequired(MaskqError):
    """The request has no API key, or an unknown one: never created, or revoked."""

    type, title, status = "key_required", "An API key is required", 401


class ScopeMissing(MaskqError):
    """The API key is valid but does not have the scope for this request."""

    type, title, status = "scope_missing", "The API key lacks a scope", 403


class LinkInvalid(MaskqError):
    """The signature in this URL is not valid: the URL was changed, or the API key that asked for it was revoked."""

    type, title, status = "link_invalid", "The link is not valid", 403


class LinkExpired(LinkInvalid):
    """The time of this signed URL is over. Ask for a new one: `POST /jobs/{job_id}/links`."""

    type, title = "link_expired", "The link has expired"


class CrossSiteRequest(MaskqError):
    """A page of another site asked a browser for this change. Without API keys, such requests are refused."""

    type, title, status = "cross_site_request", "Another site may not do this", 403


class JobNotFound(MaskqError):
    """No job has this id, or the job belongs to another caller."""

    type, title, status = "job_not_found", "Job not found", 404


class BatchRefused(MaskqError):
    """None of the images of a batch can be used. The detail names each of the first ones with its error."""

    type, title, status = "batch_refused", "No image of the batch can be used", 422


class BatchNotFound(MaskqError):
    """No batch has this id, it belongs to another caller, or it has expired."""

    type, title, status = "batch_not_found", "Batch not found", 404


class MaskNotFound(MaskqError):
    """The result has no object with this number, or that object has no mask."""

    type, title, status = "mask_not_found", "Mask not found", 404


class RequestTimedOut(MaskqError):
    """The headers or the body of the request did not arrive in time."""

    type, title, status = "request_timed_out", "The request took too long to arrive", 408


class JobEnded(MaskqError):
    """The job has already ended, so it cannot be canceled."""

    type, title, status = "job_ended", "The job has already ended", 409


class BatchClosed(MaskqError):
    """The batch was canceled or deleted, so it takes no more images."""

    type, title, status = "batch_closed", "The batch takes no more images", 409


class ResultNotReady(MaskqError):
    """The job has no result: it has not ended, has failed or was canceled."""

    type, title, status = "result_not_ready", "The job has no result", 409


class NothingToDeliver(MaskqError):
    """The job or the batch was submitted without a webhook, or it has not ended."""

    type, title, status = "nothing_to_deliver", "There is no webhook to deliver", 409


class JobExpired(MaskqError):
    """The job has ended, and its retention time is over."""

    type, title, status = "job_expired", "The job has expired", 410


class JobDeleted(JobExpired):
    """The job was deleted with `DELETE /jobs/{job_id}`."""

    type, title = "job_deleted", "The job was deleted"


class ImageExpired(MaskqError):
    """The image of the job is no longer stored. The job is."""

    type, title, status = "image_expired", "The image has expired", 410


class PayloadTooLarge(MaskqError):
    """The upload has more bytes than this deployment accepts."""

    type, title, status = "payload_too_large", "The upload is too large", 413


class ImageTooLarge(MaskqError):
    """The image has more pixels than this deployment accepts."""

    type, title, status = "image_too_large", "The image has too many pixels", 413


class UnsupportedImage(MaskqError):
    """The bytes are not an image in one of the accepted formats."""

    type, title, status = "unsupported_image", "The image format is not supported", 415


class UnsupportedEncoding(MaskqError):
    """The body is compressed. Images are compressed already, and a small body that expands could be an attack."""

    type, title, status = "unsupported_encoding", "Compressed bodies are not accepted", 415


class MisdirectedRequest(MaskqError):
    """The request names a host that is not known as this service. Without API keys, such requests are refused."""

    type, title, status = "misdirected_request", "The request is for another host", 421


class ImageUnreadable(MaskqError):
    """The image is truncated or damaged, or it takes too much memory or time to decode."""

    type, title, status = "image_unreadable", "The image cannot be decoded", 422


class InvalidField(MaskqError):
    """A field of the request is missing, or its value is not allowed. `detail` names the field."""

    type, title, status = "invalid_field", "A field of the request is invalid", 422


class IdempotencyMismatch(MaskqError):
    """The idempotency key was used before, with another request."""

    type, title, status = "idempotency_mismatch", "The idempotency key belongs to another request", 422


class UrlRefused(InvalidField):
    """The URL is not allowed, or could not be reached. `detail` names the field."""

    type, title = "url_refused", "The URL cannot be used"


class RateLimited(MaskqError):
    """The API key has sent more requests than its rate limit allows."""

    type, title, status = "rate_limited", "Too many requests", 429

    def __init__(self, detail: str, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class QueueFull(MaskqError):
    """The queue of this model has its maximum number of waiting jobs."""

    type, title, status = "queue_full", "The queue is full", 429
    retry_after_s = 5

    def __init__(self, detail: str, limit: int) -> None:
        super().__init__(detail)
        self.limit = limit


class ShareExceeded(MaskqError):
    """This client uses its share of what is limited: jobs and requests that wait, uploads. Others get theirs."""

    type, title, status = "share_exceeded", "Too much at once", 429
    retry_after_s = 5


class HeadersTooLarge(MaskqError):
    """The headers of the request are longer than this service accepts."""

    type, title, status = "headers_too_large", "The headers are too large", 431


class StoreUnavailable(MaskqError):
    """Redis does not answer, or accepts no more data."""

    type, title, status, retry_after_s = "store_unavailable", "The job store is unavailable", 503, 2


class StoreUnconfirmed(StoreUnavailable):
    """The change is made, and too few replicas of Redis confirm it: a failover may forget it. Repeat the request."""

    type, title = "store_unconfirmed", "The job store has not confirmed the change"


class StoreFull(MaskqError):
    """The memory of the store is nearly used up. Jobs in it can still be finished."""

    type, title, status = "store_full", "The job store is nearly full", 503
    retry_after_s = 30


class ServerBusy(MaskqError):
    """This process has its maximum number of uploads or waiting clients."""

    type, title, status = "server_busy", "The server is busy", 503
    retry_after_s = 5


class ModelUnserved(MaskqError):
    """No live worker serves this model. Other models may have workers."""

    type, title, status = "model_unserved", "No worker serves this model", 503
    retry_after_s = 10


# --- Errors of jobs: stored in the job as {"type", "detail"} ----------------------------------------------------------


class PromptTooLong(MaskqError):
    """The prompt has more tokens than the model accepts. The number of characters does not determine it."""

    type, title = "prompt_too_long", "The prompt is too long for the model"


class InferenceFailed(MaskqError):
    """The model's forward pass failed for this job."""

    type, title = "inference_failed", "The model failed on this job"


class WorkerLost(MaskqError):
    """Every worker that ran the job alone was lost: it died or froze."""

    type, title = "worker_lost", "The job stopped its workers"


class DeadlineExceeded(MaskqError):
    """The job did not end within its `timeout`, so it was canceled."""

    type, title = "deadline_exceeded", "The job did not end in time"


# --- Errors at the start of a process: for the operator, never for a client -------------------------------------------


class ConfigurationError(MaskqError):
    """The configuration of the deployment is wrong. `detail` says what to change."""

    type, title = "configuration_error", "maskq is not configured correctly"


class CheckpointError(ConfigurationError):
    """The files of the model are missing, unreachable, damaged or of the wrong shape. `detail` says what to do."""

    type, title = "checkpoint_error", "The checkpoint could not be loaded"
