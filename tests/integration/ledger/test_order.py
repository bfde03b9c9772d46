"""The order in which jobs are claimed."""

from __future__ import annotations

from shared.domain.job import Priority
from tests.clock import MovedClock
from tests.integration.ledger.deployment import MODEL, SUCCESS, Deploy, Deployment


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


# --- Clients whose jobs take long -------------------------------------------------------------------------------------


def _owners_run(deployment: Deployment, clock: MovedClock, count: int, seconds: dict[str, float]) -> str:
    """Run jobs one after the other, each for the seconds of its owner."""
    owners = ""
    for _ in range(count):
        lease = deployment.claim()
        clock.advance(seconds[lease.job.owner])
        deployment.leases.finish(lease, SUCCESS)
        owners += lease.job.owner
    return owners


def test_a_client_whose_jobs_take_ten_times_as_long_gets_a_tenth_of_the_turns(
    deploy: Deploy, clock: MovedClock
) -> None:
    deployment = deploy(max_queued_jobs=1_000)
    for owner in ("d", "q"):
        for _ in range(150):
            deployment.submit(owner=owner)
    seconds = {"d": 10.0, "q": 1.0}
    _owners_run(deployment, clock, 30, seconds)  # the ledger learns what is typical
    served = _owners_run(deployment, clock, 88, seconds)
    assert 6 <= served.count("d") <= 10


def test_a_client_is_charged_for_running_jobs_that_it_cancels(deployment: Deployment, clock: MovedClock) -> None:
    for _ in range(12):
        deployment.submit(owner="q")
    _owners_run(deployment, clock, 4, {"q": 1.0})
    for _ in range(8):
        deployment.submit(owner="d")
    while (lease := deployment.claim()).job.owner != "d":
        deployment.leases.finish(lease, SUCCESS)
    clock.advance(10)
    deployment.cancel(lease.job.id)
    assert "d" not in _owners_claimed(deployment, 5)


def test_a_client_alone_is_not_charged_for_what_nobody_waits_for(deployment: Deployment, clock: MovedClock) -> None:
    deployment.submit(owner="d")
    deployment.leases.finish(deployment.claim(), SUCCESS)
    for _ in range(5):
        deployment.submit(owner="d")
        lease = deployment.claim()
        clock.advance(100)
        deployment.leases.finish(lease, SUCCESS)
    for owner in "dqdq":
        deployment.submit(owner=owner)
    assert sorted(_owners_claimed(deployment, 2)) == ["d", "q"]


def test_charged_jobs_keep_their_order(deploy: Deploy, clock: MovedClock) -> None:
    deployment = deploy(max_queued_jobs=1_000)
    ids = {owner: [deployment.submit(owner=owner) for _ in range(40)] for owner in ("d", "q")}
    claimed: dict[str, list[str]] = {"d": [], "q": []}
    for _ in range(80):
        lease = deployment.claim()
        clock.advance({"d": 7.0, "q": 1.0}[lease.job.owner])
        deployment.leases.finish(lease, SUCCESS)
        claimed[lease.job.owner].append(lease.job.id)
    assert claimed == ids


def test_a_full_client_lets_others_go_first_and_is_served_if_there_are_none(deployment: Deployment) -> None:
    for owner in "aaab":
        deployment.submit(owner=owner)
    claimed = [deployment.leases.claim(MODEL, is_idle=False, full_clients=["a"]) for _ in range(4)]
    assert "".join(lease.job.owner for lease in claimed if lease) == "baaa"


def test_without_keys_each_address_has_its_own_turns(deployment: Deployment) -> None:
    for _ in range(20):
        deployment.submit(owner="anonymous", client="anonymous@192.0.2.1")
    for _ in range(3):
        deployment.claim()
    job_id = deployment.submit(owner="anonymous", client="anonymous@192.0.2.2")
    assert job_id in {deployment.claim().job.id for _ in range(2)}
