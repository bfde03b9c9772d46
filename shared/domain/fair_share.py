"""How much of a bounded resource one client may use, so that there is always some left for the next client.

The rule is that of dynamic thresholds (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet
switches", IEEE/ACM Transactions on Networking 6(2), 1998): a client may use at most `FACTOR` times what is free. A
client alone gets three quarters of the resource; once it uses less again, each of n clients comes to 3 / (3n + 1). No
list of clients and no guess at their number is needed. The first that a client asks for is granted whenever there is
room.

`shared/store/scripts/submit.lua` applies the same rule to what is bounded in the ledger.
"""

from __future__ import annotations

FACTOR = 3
"""Higher: one client alone can use more. Lower: more is left for newcomers."""


def is_within_share(used: int, in_use: int, total: int, share: int = 1) -> bool:
    """Whether a client may use `used` of `total`.

    Args:
        used: What the client uses, with what it asks for.
        in_use: What all clients use together, with what this one asks for.
        total: The whole resource, in the same unit.
        share: The client's weight: `share` of its API key, 1 for others.
    """
    return used <= FACTOR * share * (total - in_use)
