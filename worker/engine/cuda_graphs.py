"""CUDA graphs: one call launches the hundreds of kernels of a step. A graph is captured when a shape first occurs, and
replayed from then on. `worker.engine.warm_up` makes all shapes occur before the first job.

Not run on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch


class CudaGraphs:
    """Runs functions that work in place on fixed tensors. On CUDA it replays their kernels; elsewhere it calls them."""

    def __init__(self, device: torch.device) -> None:
        self.are_captured = device.type == "cuda"
        """Whether each shape needs a graph."""
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph] = {}
        self._pool = torch.cuda.graph_pool_handle() if self.are_captured else None

    def run(self, shape: Hashable, function: Callable[[], None]) -> None:
        """Have the effect of `function`, which must do the same to the same tensors for equal `shape`."""
        if not self.are_captured:
            function()
        elif graph := self._graphs.get(shape):
            graph.replay()
        else:
            self._graphs[shape] = self._capture(function)

    def _capture(self, function: Callable[[], None]) -> torch.cuda.CUDAGraph:
        """Run once, because kernels choose their algorithms in their first run. Then record without running."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            function()
        return graph
