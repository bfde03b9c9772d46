"""CUDA graphs: a step's hundreds of kernels launched by one call. Captured when a shape is first met, then replayed.

Not run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch


class Graphs:
    """Runs a function that works in place on fixed tensors, by replaying its kernels where that can be done."""

    def __init__(self, device: torch.device) -> None:
        self._captures = device.type == "cuda"
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._pool = torch.cuda.graph_pool_handle() if self._captures else None

    def run(self, shape: Hashable, function: Callable[[], None]) -> None:
        """Do what `function` does. It must do the same to the same tensors whenever `shape` is the same."""
        if not self._captures:
            function()
        elif graph := self._graphs.get(shape):
            graph.replay()
        else:
            self._graphs[shape] = self._capture(function)

    def _capture(self, function: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """Run once, as kernels choose their algorithms in a first run, then record without running."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            function()
        return graph
