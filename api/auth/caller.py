"""Who sent a request, and which jobs they may see."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass

from shared.domain.batch import Batch
from shared.domain.job import ANONYMOUS, Job


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    owner: str
    """Owner of the jobs that the caller submits and may see: the id of its API key."""
    is_admin: bool = False
    """Whether the caller may see and cancel the jobs of all owners."""
    may_read: bool = True
    """Whether the caller may see the results of its jobs, not only submit and cancel them."""
    share: int = 1
    """Weight of this caller in the fair queue, and in its share of what the service has."""
    address: str = ""
    """IP address of the client, as far as trusted proxies report it."""
    key_sha256: str = ""
    """Fingerprint of its API key; empty without one."""
    until: float = math.inf
    """When its right to read ends: the end of a signed link, in Unix seconds."""

    @property
    def client(self) -> str:
        """Whom limits count: the API key, or without keys the address."""
        return self.owner if self.owner != ANONYMOUS else f"{ANONYMOUS}@{network_of(self.address)}"

    def may_see(self, owned: Job | Batch) -> bool:
        """Whether the caller may see this job or batch."""
        return self.is_admin or owned.owner == self.owner


def network_of(address: str) -> str:
    """The network that one client controls: an IPv4 address itself, the /64 network of an IPv6 address."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return address
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False).network_address)
