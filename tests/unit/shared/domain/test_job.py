import time
import uuid

import pytest

from shared.domain.job import ALLOWED_TRANSITIONS, JobStatus, is_job_id, new_job_id
from testing.factories import stored_job


def test_ids_are_uuids_of_version_7_that_sort_by_time() -> None:
    first = new_job_id()
    time.sleep(0.002)
    second = new_job_id()
    assert [uuid.UUID(first).version, uuid.UUID(first).variant] == [7, uuid.RFC_4122]
    assert first < second
    assert len({new_job_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text", ["", "1", "nonsense", "{0197a2b4-5c6d-7e8f-9a0b-1c2d3e4f5a6b}", "0197A2B4" * 4, "../x"]
)
def test_only_the_canonical_form_is_an_id(text: str) -> None:
    assert not is_job_id(text)
    assert is_job_id(new_job_id())


def test_terminal_states_have_no_transitions() -> None:
    terminal = {status for status in JobStatus if status.is_terminal}
    assert terminal == {JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELED}
    assert set().union(*ALLOWED_TRANSITIONS.values()) | {JobStatus.QUEUED} == set(JobStatus)


def test_a_job_has_metrics_once_it_was_started_and_has_ended() -> None:
    started = stored_job(created_at_ms=1000, started_at_ms=1500)
    assert started.metrics is None
    metrics = started.model_copy(update={"completed_at_ms": 3500, "batch_size": 3}).metrics
    assert metrics is not None
    assert (metrics.queue_s, metrics.predict_s, metrics.batch_size) == (0.5, 2.0, 3)
