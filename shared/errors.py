"""Every error maskq raises on purpose: one tree, stable codes, messages that are safe to show a client.

An error that may reach a client carries `type` (a stable code clients can branch on), `title` (the same for every error
of its type) and `detail` (what happened this time and what to do). Nothing else of it ever leaves the process.
"""

from __future__ import annotations

from typing import ClassVar


class MaskqError(Exception):
    """Nobody foresaw this; the log has it.

    The root of the tree. `detail` must be safe to show a client: no paths, addresses or stack traces.
    """

    type: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Something went wrong on our side"
    status: ClassVar[int] = 500
    retry_after_s: float | None = None
    """When it makes sense to try again; None: not without a change."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


# --- What a request can be refused for: `status` is its HTTP status -------------------------------------------------


class MalformedRequest(MaskqError):
    """The body is neither the multipart form nor the JSON object it says it is."""

    type, title, status = "malformed_request", "The request could not be read", 400


class KeyRequired(MaskqError):
    """The request shows no API key, or one that is not known: never made, or revoked."""

    type, title, status = "key_required", "This service wants an API key", 401


class ScopeMissing(MaskqError):
    """The API key is known, and may not do this."""

    type, title, status = "scope_missing", "This API key may not do that", 403


class JobNotFound(MaskqError):
    """No job has this id, or it is another caller's."""

    type, title, status = "job_not_found", "No such job", 404


class MaskNotFound(MaskqError):
    """The job's result has no object of this number, or that object has no mask."""

    type, title, status = "mask_not_found", "No such mask", 404


class RequestTimedOut(MaskqError):
    """The headers or the body of the request did not arrive in time."""

    type, title, status = "request_timed_out", "The request took too long to arrive", 408


class JobEnded(MaskqError):
    """The job has ended already, so it cannot be canceled."""

    type, title, status = "job_ended", "The job has already ended", 409


class ResultNotReady(MaskqError):
    """The job has no masks to draw: it is unfinished, failed or canceled."""

    type, title, status = "result_not_ready", "The job has no result to show", 409


class NothingToDeliver(MaskqError):
    """The job was submitted without a webhook, or has not ended."""

    type, title, status = "nothing_to_deliver", "There is no webhook to deliver", 409


class JobExpired(MaskqError):
    """The job ended and its retention is over."""

    type, title, status = "job_expired", "The job has expired", 410


class ImageExpired(MaskqError):
    """The job is still here, its image is not."""

    type, title, status = "image_expired", "The image of this job has expired", 410


class PayloadTooLarge(MaskqError):
    """More bytes than this deployment takes."""

    type, title, status = "payload_too_large", "The upload is too large", 413


class ImageTooLarge(MaskqError):
    """More pixels than this deployment takes."""

    type, title, status = "image_too_large", "The image has too many pixels", 413


class UnsupportedImage(MaskqError):
    """The bytes are not an image in one of the accepted formats."""

    type, title, status = "unsupported_image", "This is not an image we can read", 415


class UnsupportedEncoding(MaskqError):
    """The body is compressed. Images are compressed already, and a small body that grows is an attack."""

    type, title, status = "unsupported_encoding", "Compressed bodies are not taken", 415


class ImageUnreadable(MaskqError):
    """The bytes begin like an accepted image but are truncated or damaged, or cost too much to decode."""

    type, title, status = "image_unreadable", "The image cannot be decoded", 422


class InvalidField(MaskqError):
    """A field of the request is missing or has a value it may not have. `detail` names the field."""

    type, title, status = "invalid_field", "A field of the request is wrong", 422


class IdempotencyMismatch(MaskqError):
    """The idempotency key was used before, for another request."""

    type, title, status = "idempotency_mismatch", "This idempotency key stands for another request", 422


class UrlRefused(InvalidField):
    """The server will not call this URL, or could not. `detail` names the field."""

    type, title = "url_refused", "This URL cannot be used"


class RateLimited(MaskqError):
    """This API key has sent more requests than it may for now."""

    type, title, status = "rate_limited", "Too many requests", 429

    def __init__(self, detail: str, retry_after_s: float) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class QueueFull(MaskqError):
    """As many jobs are waiting as this deployment keeps."""

    type, title, status = "queue_full", "The queue is full", 429
    retry_after_s = 5

    def __init__(self, detail: str, limit: int) -> None:
        super().__init__(detail)
        self.limit = limit


class HeadersTooLarge(MaskqError):
    """The request's headers are longer than any honest client's."""

    type, title, status = "headers_too_large", "The headers are too large", 431


class StoreUnavailable(MaskqError):
    """Redis does not answer, or takes no more data."""

    type, title, status = "store_unavailable", "The job store is not available", 503
    retry_after_s = 2


class StoreFull(MaskqError):
    """The store's memory is nearly used up; jobs that are in it can still be finished."""

    type, title, status = "store_full", "The job store is nearly full", 503
    retry_after_s = 30


class ServerBusy(MaskqError):
    """This process has as many uploads or waiting clients in hand as it can carry."""

    type, title, status = "server_busy", "The server is busy", 503
    retry_after_s = 5


class ModelUnserved(MaskqError):
    """No live worker serves this model. Jobs for others may well be taken."""

    type, title, status = "model_unserved", "Nobody serves this model right now", 503
    retry_after_s = 10


# --- What a job can fail with: kept in the job as {"type", "detail"} --------------------------------------------------


class PromptTooLong(MaskqError):
    """The prompt takes more tokens than the model has room for; characters alone do not tell."""

    type = "prompt_too_long"
    title = "Prompt too long for the model"


class InferenceFailed(MaskqError):
    """The model's forward pass failed for this job."""

    type, title = "inference_failed", "The model failed on this job"


class WorkerLost(MaskqError):
    """Every worker that ran the job alone was lost: it died or froze."""

    type, title = "worker_lost", "The job took its workers down"


class DeadlineExceeded(MaskqError):
    """The job's `timeout` was over before it had ended; it is canceled."""

    type, title = "deadline_exceeded", "The job did not end in time"


# --- What stops a process from starting: read by the operator, never by a client --------------------------------------


class ConfigurationError(MaskqError):
    """The deployment is set up wrongly. `detail` says what to change."""

    type, title = "configuration_error", "maskq is not set up correctly"


class CheckpointError(ConfigurationError):
    """The model's files are missing, out of reach, damaged or of the wrong shape. `detail` says what to do."""

    type, title = "checkpoint_error", "The checkpoint could not be loaded"
