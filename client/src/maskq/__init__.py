"""Cut objects out of images by name, with a maskq service.

>>> from maskq import Client
>>> with Client() as maskq:
...     for found in maskq.segment("photo.png", "cat"):
...         print(found.label, found.box, found.mask.sum())
segment cat (63, 23, 64, 24) 1
"""

from maskq.async_client import AsyncClient
from maskq.async_job import AsyncJob, AsyncResult
from maskq.async_job_batch import AsyncBatch
from maskq.batch_state import BatchJob, BatchState, RefusedImage
from maskq.client import Client
from maskq.coco import CocoDataset
from maskq.errors import (
    ConfigurationError,
    ConnectionFailed,
    ImageError,
    JobCanceled,
    JobFailed,
    JobUnsuccessful,
    MaskqError,
    MaskUnavailable,
    MissingPackage,
    RequestError,
    WaitTimeout,
)
from maskq.images import ImageInput
from maskq.job import Job, Result
from maskq.job_batch import Batch
from maskq.job_state import JobState
from maskq.operations import Model
from maskq.segments import Segment
from maskq.submission import BatchOptions, SubmitOptions

__all__ = [
    "AsyncBatch",
    "AsyncClient",
    "AsyncJob",
    "AsyncResult",
    "Batch",
    "BatchJob",
    "BatchOptions",
    "BatchState",
    "Client",
    "CocoDataset",
    "ConfigurationError",
    "ConnectionFailed",
    "ImageError",
    "ImageInput",
    "Job",
    "JobCanceled",
    "JobFailed",
    "JobState",
    "JobUnsuccessful",
    "MaskUnavailable",
    "MaskqError",
    "MissingPackage",
    "Model",
    "RefusedImage",
    "RequestError",
    "Result",
    "Segment",
    "SubmitOptions",
    "WaitTimeout",
]
