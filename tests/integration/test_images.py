"""Images in a folder instead of Redis."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from shared.errors import ConfigurationError, IdempotencyMismatch
from shared.job import JobFailure, JobRequest, MaskFormat, new_job_id
from shared.settings import Settings
from shared.store import keys
from shared.store.leases import LeaseStore, Outcome
from shared.store.submissions import NewJob, SubmissionStore

_REQUEST = JobRequest(model_id="demo", prompt="segment cat", mask_formats=(MaskFormat.RLE,))
_FAILURE = Outcome(failure=JobFailure(type="inference_failed", detail="why"))


@pytest.fixture
def folder_settings(settings: Settings, tmp_path: Path) -> Settings:
    return settings.model_copy(update={"image_store": tmp_path.as_uri(), "image_retention_s": 100})


@pytest.fixture
def leases(folder_settings: Settings) -> Iterator[LeaseStore]:
    store = LeaseStore.connect(folder_settings)
    yield store
    store.close()


def _submit(settings: Settings, image: bytes = b"image", key: str = "") -> str:
    async def submit() -> str:
        store = SubmissionStore.connect(settings)
        try:
            state = await store.submit(NewJob(new_job_id(), _REQUEST, image, "me", idempotency_key=key))
            assert await store.image(state.job.id) == b"image"
            return state.job.id
        finally:
            await store.close()

    return asyncio.run(submit())


def _make_old(path: Path) -> None:
    two_hours_ago = time.time() - 7_200
    os.utime(path, (two_hours_ago, two_hours_ago))


def test_an_image_lies_in_the_folder_and_not_in_redis(
    folder_settings: Settings, leases: LeaseStore, tmp_path: Path
) -> None:
    job_id = _submit(folder_settings)
    assert (tmp_path / job_id).read_bytes() == b"image"
    with Redis.from_url(folder_settings.redis_url) as redis:
        assert not redis.exists(keys.image(job_id))
    lease = leases.claim("demo", hands_empty=True)
    assert lease is not None
    assert lease.image == b"image"


def test_an_image_of_a_job_that_was_not_accepted_is_removed_at_once(folder_settings: Settings, tmp_path: Path) -> None:
    first = _submit(folder_settings, key="k")
    assert _submit(folder_settings, key="k") == first
    with pytest.raises(IdempotencyMismatch):
        _submit(folder_settings, image=b"another", key="k")
    assert [path.name for path in tmp_path.iterdir()] == [first]


def test_a_sweep_removes_what_no_job_needs_and_nothing_else(
    folder_settings: Settings, leases: LeaseStore, tmp_path: Path
) -> None:
    ended, kept, waiting = (_submit(folder_settings) for _ in range(3))
    for job_id in (ended, kept):
        lease = leases.claim("demo", hands_empty=True)
        assert lease is not None
        assert lease.job.id == job_id
        leases.finish(lease, _FAILURE)
    (tmp_path / "orphan").write_bytes(b"written before a front end died")
    (tmp_path / "young").write_bytes(b"being submitted")
    for name in (ended, kept, waiting, "orphan"):
        _make_old(tmp_path / name)
    with Redis.from_url(folder_settings.redis_url) as redis:
        redis.hset(keys.job(ended), "completed_at_ms", "1")
    assert leases.sweep_images() == 2
    assert {path.name for path in tmp_path.iterdir()} == {kept, waiting, "young"}


def test_with_images_in_redis_there_is_nothing_to_sweep(settings: Settings) -> None:
    store = LeaseStore.connect(settings)
    assert store.sweep_images() == 0
    store.close()


@pytest.mark.parametrize("url", ["nonsense://bucket", "file:///there/is/no/such/folder", "just words"])
def test_a_place_that_cannot_hold_images_is_explained(settings: Settings, url: str) -> None:
    with pytest.raises(ConfigurationError, match="IMAGE_STORE must be"):
        LeaseStore.connect(settings.model_copy(update={"image_store": url}))
