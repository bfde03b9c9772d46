"""Slots for threads: their number, and the order in which clients get them."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from shared.images.fair_slots import FairSlots


class Waiters:
    """Threads that wait for slots of one object, one after the other."""

    def __init__(self, slots: FairSlots) -> None:
        self._slots = slots
        self._threads: list[threading.Thread] = []
        self.served = ""
        """The client of each slot, in the order in which they got one."""

    def wait(self, clients: str) -> None:
        """Start a thread for each client, each once the one before it waits."""
        for client in clients:
            self._threads.append(threading.Thread(target=self._hold, args=(client,)))
            self._threads[-1].start()
            while len(self._slots._waiting) < len(self._threads):
                time.sleep(0.001)

    def join(self) -> str:
        for thread in self._threads:
            thread.join(60)
        return self.served

    def _hold(self, client: str) -> None:
        with self._slots.held(client):
            self.served += client


def test_a_free_slot_goes_to_the_client_that_has_the_fewest() -> None:
    slots = FairSlots(2)
    waiters = Waiters(slots)
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(slots.held("a"))
        second.enter_context(slots.held("a"))
        waiters.wait("aaab")
        first.close()
        assert waiters.join() == "baaa"


def test_one_client_gets_slots_in_the_order_of_its_requests_and_all_of_them() -> None:
    slots = FairSlots(3)
    with slots.held("a"), slots.held("a"), slots.held("a"):
        waiters = Waiters(slots)
        waiters.wait("aa")
        assert waiters.served == ""
    assert waiters.join() == "aa"


def test_a_slot_is_free_again_after_an_error() -> None:
    slots = FairSlots(1)
    with pytest.raises(ValueError, match="why"), slots.held("a"):
        raise ValueError("why")
    with slots.held("b"):
        pass
