"""What can go wrong with one request or one image."""

from __future__ import annotations

from maskq.errors import MaskqError


class BadRequest(MaskqError):
    """Label Studio would not send this: it is no request of its protocol, or the labeling config is no usable XML."""


class NoPrediction(MaskqError):
    """There is no prediction for this task. The message says why; it goes to the log."""
