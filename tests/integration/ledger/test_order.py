"""The order in which jobs are claimed."""

from __future__ import annotations

from shared.domain.job import Priority
from tests.integration.ledger.deployment import MODEL, Deployment


def test_jobs_are_claimed_in_the_order_of_submission_and_each_once(deployment: Deployment) -> None:
    ids = [deployment.submit() for _ in range(3)]
    assert [deployment.position(each) for each in ids] == [0, 1, 2]
    assert [deployment.claim().job.id for _ in ids] == ids
    assert deployment.leases.claim(MODEL, is_idle=True) is None


def test_workers_claim_only_jobs_of_their_model(deployment: Deployment) -> None:
    deployment.submit()
    assert deployment.leases.claim("another", is_idle=True) is None


def _owners_claimed(deployment: Deployment, count: int) -> str:
    return "".join(deployment.claim().job.owner for _ in range(count))


def test_an_owner_with_many_jobs_does_not_hold_up_another(deployment: Deployment) -> None:
    for _ in range(20):
        deployment.submit(owner="a")
    assert _owners_claimed(deployment, 3) == "aaa"
    for _ in range(3):
        deployment.submit(owner="b")
    served = _owners_claimed(deployment, 6)
    assert served.count("b") == 3


def test_priorities_get_turns_in_proportion_to_their_weights(deployment: Deployment) -> None:
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        for _ in range(14):
            deployment.submit(priority=priority)
    served = [deployment.claim().job.request.priority for _ in range(14)]
    assert [served.count(each) for each in (Priority.HIGH, Priority.NORMAL, Priority.LOW)] == [8, 4, 2]


def test_an_idle_flow_does_not_save_up_turns(deployment: Deployment) -> None:
    for _ in range(10):
        deployment.submit(owner="a")
    _owners_claimed(deployment, 8)
    for _ in range(10):
        deployment.submit(owner="b")
        deployment.submit(owner="a")
    assert 3 <= _owners_claimed(deployment, 8).count("b") <= 5
