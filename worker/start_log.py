"""What a worker logs while it starts: what it does, how long each part took, and what it runs on in the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from shared.settings import Settings
from worker.devices.claim import ClaimedDevice
from worker.engine.engine import Engine

logger = logging.getLogger(__name__)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Log the beginning of a part of the start and, if it succeeds, its duration."""
    logger.info("%s ...", name)
    begin = time.perf_counter()
    yield
    logger.info("%s took %.1f s", name, time.perf_counter() - begin)


def describe(model: Any, device: ClaimedDevice, engine: Engine) -> dict[str, str]:
    """What a worker runs on, for its log and its metrics."""
    gpu = device.gpu
    return {
        "device": gpu.number or gpu.id if gpu else device.setting,
        "gpu": str(gpu) if gpu else "",
        "dtype": str(model.dtype).removeprefix("torch."),
        "slots": str(engine.stats()["slots"]),
    }


def log_ready(name: str, facts: Mapping[str, str], settings: Settings) -> None:
    """Say that jobs are taken from now on."""
    logger.info(
        "ready: %s on %s in %s, %s jobs in a step (MASKQ_MAX_BATCH), %d tokens in a prefill, %d jobs in flight",
        name,
        facts["gpu"] or facts["device"],
        facts["dtype"],
        facts["slots"],
        settings.engine.prefill_tokens,
        settings.worker.worker_threads,
    )
