"""What the machine learning backend does, without HTTP."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from maskq.async_client import AsyncClient
from maskq.configuration import Configuration
from maskq.errors import ConfigurationError, MaskqError
from maskq.labelstudio.addresses import Addresses
from maskq.labelstudio.images import Images
from maskq.labelstudio.predictions import Predictions
from maskq.labelstudio.project_config import ProjectConfig
from maskq.labelstudio.prompting import Question
from maskq.labelstudio.protocol import PredictRequest, SetupRequest, Task, prediction
from maskq.submission import SubmitOptions
from maskq.typed import Json

FAILED = "maskq-failed"
"""The model version of an empty prediction whose reason is in the log. It is another than that of `/setup`, so Label
Studio asks for this task again."""
_SETUP_S = 2.0
"""Label Studio waits 3 s."""
_log = logging.getLogger("maskq.labelstudio")


@dataclass(frozen=True)
class BackendOptions:
    """What the operator decides."""

    label_studio_url: str
    token: str = field(default="", repr=False)
    allowed_hosts: tuple[str, ...] = ()
    model_id: str | None = None
    score_threshold: float | None = None
    concurrency: int = 8
    """Tasks at one time, of all batches together; and as many for which an annotator waits."""
    answer_within_s: float = 90.0
    """Label Studio gives up after 100 s, and then loses the predictions that were made."""

    @property
    def addresses(self) -> Addresses:
        """Where images may be.

        Raises:
            ConfigurationError: the URL of Label Studio is none.
        """
        url = self.label_studio_url.strip().rstrip("/")
        try:
            parts = urlsplit(url)
            is_usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_usable = False
        if not is_usable or parts.query or parts.fragment or parts.username:
            raise ConfigurationError(f"the URL of Label Studio must look like http://localhost:8080, not {url!r}")
        return Addresses(url, self.allowed_hosts)


class Backend:
    """Answers `/setup`, `/versions` and `/predict`. It belongs to one event loop."""

    def __init__(self, options: BackendOptions, service: Configuration) -> None:
        """Raises:
        ConfigurationError: a URL cannot be used.
        """
        self._options = options
        self._maskq = AsyncClient(service.url, service.api_key or "")
        self._images = Images(options.addresses, options.token)
        job: SubmitOptions = {"timeout": options.answer_within_s}
        if options.model_id is not None:
            job["model_id"] = options.model_id
        if options.score_threshold is not None:
            job["score_threshold"] = options.score_threshold
        self._predictions = Predictions(self._maskq, self._images, job)
        self._batch = asyncio.Semaphore(options.concurrency)
        self._interactive = asyncio.Semaphore(options.concurrency)  # an annotator does not wait for a batch

    async def close(self) -> None:
        """Close all connections."""
        await self._images.close()
        await self._maskq.close()

    async def versions(self) -> list[str]:
        """The ids of the service's models, that which is used first.

        Raises:
            MaskqError: the service does not answer in time.
        """
        try:
            models = await asyncio.wait_for(self._maskq.models(), _SETUP_S)
        except asyncio.TimeoutError:  # of Python 3.10; later it is TimeoutError
            raise MaskqError(f"the maskq service at {self._maskq.url} does not answer") from None
        chosen = [self._options.model_id] if self._options.model_id else []
        return list(dict.fromkeys([*chosen, *(model.id for model in models)]))

    async def setup(self, request: SetupRequest) -> Json:
        """The model version for a project.

        Raises:
            BadRequest: the labeling config cannot be read.
            MaskqError: the service does not answer.
        """
        if not ProjectConfig.of(request.label_config).controls:
            _log.warning("the labeling config has no brush, polygon or rectangle labels for an image yet")
        return {"model_version": (await self.versions())[0]}

    async def predict(self, request: PredictRequest) -> list[Json]:
        """One prediction for each task, in the same order. An empty one stands for a task that has failed.

        Raises:
            BadRequest: the labeling config cannot be read.
        """
        config = ProjectConfig.of(request.label_config)
        question = Question.of(config, request.context)
        places = self._batch if request.context is None else self._interactive
        running = [asyncio.create_task(self._outcome(each, config, question, places)) for each in request.tasks]
        try:
            if running:
                await asyncio.wait(running, timeout=self._options.answer_within_s)
        finally:
            for each in running:
                each.cancel()
        outcomes = await asyncio.gather(*running, return_exceptions=True)
        return [self._checked(task, outcome) for task, outcome in zip(request.tasks, outcomes, strict=True)]

    async def _outcome(self, task: Task, config: ProjectConfig, question: Question, places: asyncio.Semaphore) -> Json:
        async with places:
            return await self._predictions.of(task, config, question)

    def _checked(self, task: Task, outcome: Json | BaseException) -> Json:
        if isinstance(outcome, dict):
            return outcome
        if isinstance(outcome, MaskqError):
            _log.warning("task %s has no prediction: %s", task.id, outcome)
        elif isinstance(outcome, asyncio.CancelledError):
            _log.warning("task %s has no prediction: not ready in %g s", task.id, self._options.answer_within_s)
        else:
            _log.error("task %s has no prediction: a mistake of maskq", task.id, exc_info=outcome)
        return prediction((), (), FAILED)
