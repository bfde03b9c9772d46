"""What the vision tower saw, kept for the next prompt on the same image."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor


class FeatureCache:
    """Features by the digest of their image, bounded in bytes; those not asked for longest leave first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self.hits = 0
        """How often features were asked for that are kept."""
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()

    def get(self, digest: bytes) -> Tensor | None:
        """The features of an image, if they are kept."""
        if digest in self._kept:
            self.hits += 1
            self._kept.move_to_end(digest)
        return self._kept.get(digest)

    def put(self, digest: bytes, features: Tensor) -> None:
        """Keep a copy, as features are commonly a part of a batch. What is larger than the whole bound is not kept."""
        if digest in self._kept or features.nbytes > self._max_bytes:
            return
        self._kept[digest] = features.clone()
        self._bytes += features.nbytes
        while self._bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes
