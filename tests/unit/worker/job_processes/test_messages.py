"""Messages between a worker and its job processes, however the socket cuts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import PromptTooLong
from worker.job_processes.messages import Ask, DecodeMasks, Drop, Message, Ping, Reply, Unpacker, packed

_MESSAGES: Sequence[Message] = (
    Ping(),
    Ask(call=1, number=2, prompt="segment cat", slots=[3], digests=[b"\x00\xff"]),
    Drop(2),
    DecodeMasks(4, [(127,) * 16]),
)
_SENT = b"".join(map(packed, _MESSAGES))


@given(st.lists(st.integers(0, len(_SENT)), max_size=12))
def test_messages_arrive_whole_and_in_their_order_in_parts_of_any_size(cuts: list[int]) -> None:
    ends = sorted({*cuts, len(_SENT)})
    unpacker = Unpacker()
    parts = [_SENT[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    assert [message for part in parts for message in unpacker.feed(part)] == list(_MESSAGES)


def test_the_beginning_of_a_message_is_kept_until_its_end_arrives() -> None:
    unpacker = Unpacker()
    sent = packed(Drop(1))
    assert list(unpacker.feed(sent[:-1])) == []
    assert list(unpacker.feed(sent[-1:] + sent)) == [Drop(1), Drop(1)]


def test_arrays_and_errors_for_clients_arrive_unchanged() -> None:
    masks = np.random.default_rng(1).random((2, 64, 64), np.float32)
    sent = packed(Reply(1, masks)) + packed(Reply(2, None, PromptTooLong("600 tokens")))
    first, second = Unpacker().feed(sent)
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    np.testing.assert_array_equal(first.value, masks)
    assert isinstance(second.error, PromptTooLong)
    assert second.error.detail == "600 tokens"
