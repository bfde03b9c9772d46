import pytest

from api.auth.caller import Caller
from api.shares import Shares
from shared.domain.fair_share import FACTOR
from shared.domain.job import ANONYMOUS
from shared.errors import ServerBusy, ShareExceeded


def _take_all(shares: Shares, client: str, share: int = 1) -> int:
    taken = 0
    while True:
        try:
            shares.take(client, share=share)
        except (ShareExceeded, ServerBusy):
            return taken
        taken += 1


def test_one_client_alone_gets_three_quarters() -> None:
    assert _take_all(Shares(1_000, "things"), "a") == 1_000 * FACTOR // (FACTOR + 1)


def test_a_newcomer_gets_in_after_many_greedy_clients() -> None:
    shares = Shares(1_000, "things")
    for number in range(4):
        _take_all(shares, f"greedy {number}")
    shares.take("newcomer")
    assert shares.in_use < 1_000


def test_two_clients_share_evenly_once_the_first_gives_back() -> None:
    shares = Shares(700, "things")
    for _ in range(_take_all(shares, "a") - 300):
        shares.free("a")
    assert _take_all(shares, "b") == 300


def test_a_client_with_a_larger_share_gets_more() -> None:
    assert _take_all(Shares(1_000, "things"), "a", share=3) == 900


def test_what_a_block_takes_is_freed_at_its_end() -> None:
    shares = Shares(10, "things")
    with pytest.raises(ShareExceeded), shares.holding("a", 5):
        shares.take("a", 4)
    assert shares.in_use == 0
    assert _take_all(shares, "a") == 7


def test_a_client_that_uses_something_is_told_about_its_share_and_others_that_all_is_used() -> None:
    shares = Shares(4, "things")
    shares.take("a", 3)
    with pytest.raises(ShareExceeded, match="your share of things"):
        shares.take("a")
    with pytest.raises(ServerBusy, match="too many things"):
        shares.take("b", 2)
    shares.take("b")


@pytest.mark.parametrize(
    ("caller", "client"),
    [
        (Caller("key-1", address="192.0.2.1"), "key-1"),
        (Caller(ANONYMOUS, address="192.0.2.1"), "anonymous@192.0.2.1"),
        (Caller(ANONYMOUS, address="2001:db8:1:2:3:4:5:6"), "anonymous@2001:db8:1:2::"),
        (Caller(ANONYMOUS, address="::ffff:192.0.2.1"), "anonymous@192.0.2.1"),
        (Caller(ANONYMOUS), "anonymous@"),
    ],
)
def test_limits_count_the_key_or_without_keys_the_network_of_the_address(caller: Caller, client: str) -> None:
    assert caller.client == client
