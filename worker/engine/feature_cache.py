"""Keeps the image features of the vision tower for further prompts on the same image."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor


class FeatureCache:
    """Features by the digest of their image, limited in bytes. The least recently used are removed first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self.hits = 0
        """Number of `get` calls that found features."""
        self._kept: OrderedDict[bytes, Tensor] = OrderedDict()

    def get(self, digest: bytes) -> Tensor | None:
        """The features of an image, or None if they are not in the cache."""
        if digest in self._kept:
            self.hits += 1
            self._kept.move_to_end(digest)
        return self._kept.get(digest)

    def put(self, digest: bytes, features: Tensor) -> None:
        """Keep a copy, because features are often a view of a whole batch. Features larger than the limit are not
        kept."""
        if digest in self._kept or features.nbytes > self._max_bytes:
            return
        self._kept[digest] = features.clone()
        self._bytes += features.nbytes
        while self._bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.nbytes

    def clear(self) -> None:
        """Remove all, and begin to count anew."""
        self._kept.clear()
        self._bytes = self.hits = 0
