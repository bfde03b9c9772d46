"""The model in this process: tokenizer, engine and mask decoder, as the pipeline asks them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import numpy as np

from shared.domain.paligemma import SPATIAL_TOKEN
from worker.engine.model_input import ModelInput
from worker.engine.sequence import Answer
from worker.gathered import gathered
from worker.model import Codes, Pixels, SoftMask, WrittenAnswer
from worker.stages.batcher import Batcher
from worker.stages.mask_vqvae import MAX_BUCKET
from worker.stages.preprocess import Preprocessor, digest


class _Engine(Protocol):
    """`worker.engine.engine.Engine` is the real one."""

    def submit(self, job: ModelInput, is_canceled: Callable[[], bool]) -> Future[Answer]: ...

    def close(self) -> None: ...


class _Codec(Protocol):
    """`worker.stages.mask_vqvae.MaskCodec` is the real one."""

    def decode(self, codes: Any) -> Any: ...


class EngineModel:
    """A `Model`. Its threads are that of the engine, and one that decodes masks."""

    def __init__(self, preprocessor: Preprocessor, engine: _Engine, tokenizer: Any, codec: _Codec) -> None:
        self.side = preprocessor.side
        self._preprocessor = preprocessor
        self._engine = engine
        self._tokenizer = tokenizer
        self._spatial: dict[int, bool] = {}
        """Whether a token id is that of a location or mask token, for ids seen so far."""
        self._masks = Batcher[Codes, SoftMask](
            lambda codes: list(codec.decode(np.array(codes, np.int32))), MAX_BUCKET, "masks"
        )

    def ask(self, prompt: str, views: Sequence[Pixels], is_canceled: Callable[[], bool]) -> list[WrittenAnswer]:
        """As `Model.ask`."""
        answers = self.start(prompt, views, [digest(each) for each in views], is_canceled)
        return [self.read(each) for each in answers.result()]

    def decode_masks(self, codes: Sequence[Codes]) -> list[SoftMask]:
        """As `Model.decode_masks`."""
        return self.start_masks(codes).result()

    def close(self) -> None:
        """As `Model.close`."""
        self._engine.close()

    def start(
        self, prompt: str, views: Sequence[Pixels], digests: Sequence[bytes], is_canceled: Callable[[], bool]
    ) -> Future[list[Answer]]:
        """Start what `ask` waits for. `digests` are those of the views. The views must not change before the future is
        done. Its callbacks run on the engine's thread, which they must not hold up.

        Raises:
            PromptTooLong, InferenceFailed: as `Model.ask`; the latter if the engine is closed.
        """
        token_ids = self._preprocessor.token_ids(prompt)
        failed = threading.Event()

        def is_dropped() -> bool:
            return failed.is_set() or is_canceled()

        futures: list[Future[Answer]] = []
        try:
            for pixels, key in zip(views, digests, strict=True):
                futures.append(self._engine.submit(ModelInput(pixels, token_ids, key), is_dropped))
        except BaseException:
            failed.set()
            raise
        return gathered(futures, failed.set)

    def start_masks(self, codes: Sequence[Codes]) -> Future[list[SoftMask]]:
        """Start what `decode_masks` waits for. Callbacks of the future run on the thread that decodes masks."""
        return gathered(self._masks.submit(codes))

    def read(self, answer: Answer) -> WrittenAnswer:
        """What an answer says."""
        text = self._tokenizer.decode(answer.token_ids, skip_special_tokens=False)
        pairs = zip(answer.token_ids, answer.logprobs, strict=True)
        spatial = [logprob for token_id, logprob in pairs if self._is_spatial(token_id)]
        return WrittenAnswer(text, spatial, answer.truncated, answer.batch_size)

    def _is_spatial(self, token_id: int) -> bool:
        known = self._spatial.get(token_id)
        if known is None:
            (name,) = self._tokenizer.convert_ids_to_tokens([token_id])
            known = self._spatial[token_id] = bool(SPATIAL_TOKEN.fullmatch(name))
        return known
