"""Images in a folder or bucket instead of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from shared.errors import ConfigurationError, IdempotencyMismatch
from shared.settings import Settings
from shared.store import key_names
from shared.store.leases import LeaseStore
from shared.store.submissions import SubmissionStore
from testing.factories import failure, new_job, success
from tests.image_places import Folder, ImagePlace, bucket


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ImagePlace]:
    if request.param == "folder":
        yield Folder(tmp_path)
    else:
        with bucket(monkeypatch) as found:
            yield found


@pytest.fixture
def own_settings(settings: Settings, place: ImagePlace) -> Settings:
    """Settings of a deployment that stores its images in that place."""
    return settings.replace(image_store=place.url, image_retention_s=100, restart_grace_s=0)


@pytest.fixture
def leases(own_settings: Settings) -> Iterator[LeaseStore]:
    store = LeaseStore.connect(own_settings)
    yield store
    store.close()


def _cancel(settings: Settings, job_id: str) -> None:
    async def cancel() -> None:
        store = SubmissionStore.connect(settings)
        await store.cancel(job_id)
        await store.close()

    asyncio.run(cancel())


def _submit(settings: Settings, image: bytes = b"image", key: str = "", timeout_s: float | None = None) -> str:
    async def submit() -> str:
        store = SubmissionStore.connect(settings)
        try:
            state = await store.submit(new_job(image=image, idempotency_key=key, timeout_s=timeout_s))
            assert await store.image(state.job.id) == b"image"
            return state.job.id
        finally:
            await store.close()

    return asyncio.run(submit())


def test_an_image_is_in_the_image_store_and_not_in_redis(
    own_settings: Settings, leases: LeaseStore, place: ImagePlace
) -> None:
    job_id = _submit(own_settings)
    assert place.read(job_id) == b"image"
    with Redis.from_url(own_settings.redis.redis_url) as redis:
        assert not redis.exists(key_names.image(job_id))
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    assert lease.image == b"image"


def test_an_image_of_a_job_that_was_not_accepted_is_removed_at_once(own_settings: Settings, place: ImagePlace) -> None:
    first = _submit(own_settings, key="k")
    assert _submit(own_settings, key="k") == first
    with pytest.raises(IdempotencyMismatch):
        _submit(own_settings, image=b"another", key="k")
    assert place.names() == {first}


def test_a_sweep_removes_only_images_that_no_job_needs(
    own_settings: Settings, leases: LeaseStore, place: ImagePlace
) -> None:
    ended, kept, waiting = (_submit(own_settings) for _ in range(3))
    for job_id in (ended, kept):
        lease = leases.claim("demo", is_idle=True)
        assert lease is not None
        assert lease.job.id == job_id
        leases.finish(lease, success())
    place.write("orphan", b"written before a front end died")
    place.write("young", b"being submitted")
    for name in (ended, kept, waiting, "orphan"):
        place.make_old(name)
    with Redis.from_url(own_settings.redis.redis_url) as redis:
        redis.hset(key_names.job(ended), "completed_at_ms", "1")
    assert leases.sweep_images() == 2
    assert place.names() == {kept, waiting, "young"}


def test_the_image_of_a_job_that_ends_without_a_result_is_removed_at_once(
    own_settings: Settings, leases: LeaseStore, place: ImagePlace
) -> None:
    canceled, failed, late = (_submit(own_settings, timeout_s=timeout_s) for timeout_s in (None, None, 0.001))
    _cancel(own_settings, canceled)
    assert place.names() == {failed, late}
    leases.reap("demo")
    assert place.names() == {failed}
    lease = leases.claim("demo", is_idle=True)
    assert lease is not None
    leases.finish(lease, failure())
    assert place.names() == set()


def test_an_image_of_a_job_without_a_result_that_stayed_is_swept(
    own_settings: Settings, leases: LeaseStore, place: ImagePlace
) -> None:
    job_id = _submit(own_settings)
    _cancel(own_settings, job_id)
    place.write(job_id, b"the process died before it removed it")
    place.make_old(job_id)
    assert leases.sweep_images() == 1


def test_with_images_in_redis_there_is_nothing_to_sweep(settings: Settings) -> None:
    store = LeaseStore.connect(settings)
    assert store.sweep_images() == 0
    store.close()


@pytest.mark.parametrize("url", ["nonsense://bucket", "file:///there/is/no/such/folder", "just words"])
def test_an_unusable_image_store_is_a_configuration_error(settings: Settings, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MASKQ_IMAGE_STORE=.* must be"):
        LeaseStore.connect(settings.replace(image_store=url))
