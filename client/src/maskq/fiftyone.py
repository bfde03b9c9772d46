"""A model for FiftyOne: `dataset.apply_model(MaskqModel("cat ; dog"), label_field="maskq", batch_size=16)`.

Needs FiftyOne when it is imported.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from maskq.client import Client
from maskq.configuration import Configuration
from maskq.errors import MaskqError
from maskq.packages import require
from maskq.submission import SubmitOptions
from maskq.typed import Self, Unpack

if TYPE_CHECKING:
    import fiftyone
    import numpy
    import numpy.typing

    _Pixels = numpy.typing.NDArray[numpy.uint8]

_Model: Any = require("fiftyone.core.models", "fiftyone").Model
_log = logging.getLogger("maskq.fiftyone")


class MaskqModel(_Model):  # type: ignore[misc]  # FiftyOne has no types
    """Asks a maskq service for the objects that a prompt names. As a context, it closes its connections at the end; it
    opens new ones when it is used again."""

    media_type = "image"
    config = None
    """Without one, FiftyOne itself applies `confidence_thresh` and `classes`."""
    ragged_batches = False
    """Images of a batch may have different sizes, since each is sent by itself."""
    transforms = None
    preprocess = False

    def __init__(
        self,
        prompt: str,
        url: str | None = None,
        api_key: str | None = None,
        *,
        skip_failures: bool = True,
        **options: Unpack[SubmitOptions],
    ) -> None:
        """Nothing is sent yet.

        Args:
            prompt: `cat`, or `cat ; dog` for two things.
            url, api_key: as those of `Client`.
            skip_failures: an image of a batch that fails has no labels, and the reason is logged, as long as another
                one succeeds. False: the error is raised, and FiftyOne then leaves out the batch, or stops.
            options: of every job, as in `Client.segment`.

        Raises:
            ConfigurationError: the URL or the key cannot be used.
        """
        self._service = Configuration.of(url, api_key)
        self._prompt = prompt
        self._skip_failures = skip_failures
        self._options = options
        self._opened: Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._opened:
            self._opened.close()
        self._opened = None

    def predict(self, arg: _Pixels) -> fiftyone.Detections:
        """The objects in an image.

        Args:
            arg: uint8[height, width, 3], RGB.

        Raises:
            MaskqError: as `Client.segment`.
        """
        return self._maskq.segment(arg, self._prompt, **self._options).to_fiftyone()

    def predict_all(self, args: Iterable[_Pixels]) -> list[fiftyone.Detections | None]:
        """The objects in each image. The jobs run at the same time. None: this one has failed.

        Raises:
            MaskqError: as `Client.segment`, if all have failed, or one has and `skip_failures` is false.
        """
        images = list(args)
        outcomes = {id(image): end for image, end in self._maskq.map(images, self._prompt, **self._options)}
        ends = [outcomes[id(image)] for image in images]
        failures = [end for end in ends if isinstance(end, MaskqError)]
        if failures and not (self._skip_failures and len(failures) < len(ends)):
            raise failures[0]
        for number, end in enumerate(ends):
            if isinstance(end, MaskqError):
                _log.warning("image %d of a batch of %d has no labels: %s", number + 1, len(ends), end)
        return [None if isinstance(end, MaskqError) else end.to_fiftyone() for end in ends]

    @property
    def _maskq(self) -> Client:
        if not self._opened:
            self._opened = Client(self._service.url, self._service.api_key or "")
        return self._opened
