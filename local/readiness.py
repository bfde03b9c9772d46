"""Whether a service that was started here takes jobs: with its own workers, not with those of another service on the
same Redis or of an earlier run."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Collection
from typing import Self

from redis.exceptions import RedisError

from shared.process.identity import pids_here
from shared.registry import served_model
from shared.settings import Settings
from shared.store.leases import LeaseStore

_ANSWER_S = 5.0


def front_end_answers(url: str) -> bool:
    """Whether a front end answers requests, and has its store."""
    try:
        with urllib.request.urlopen(f"{url}/readyz?exclude=submissions", timeout=_ANSWER_S):  # noqa: S310  our own address
            return True
    except (urllib.error.URLError, OSError):
        return False


class LiveWorkers:
    """Looks at the live workers of the model that the settings name. Use as a context."""

    def __init__(self, redis_url: str) -> None:
        settings = Settings.of(redis_url=redis_url)
        self._store = LeaseStore.connect(settings)
        self._model_id = served_model(settings.model).name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def include(self, processes: Collection[int]) -> bool:
        """Whether all these processes of this host, by their ids, are live workers."""
        try:
            return set(processes) <= pids_here(self._store.live_workers(self._model_id))
        except RedisError:
            return False
