"""LitServe around the model: it gathers requests to batches. It has an environment of its own (see `benchmarks.peers`).

python -m benchmarks.peers.litserve_app PORT WORKERS
"""

import json
import sys
from typing import Any

import litserve  # type: ignore[import-not-found,unused-ignore]
from fastapi import Request

from benchmarks.peers.plain_model import BATCH, PlainModel


class SegmentApi(litserve.LitAPI):  # type: ignore[misc]
    """A batch of images in, their objects out."""

    def setup(self, device: str) -> None:
        """Load the model, once in each worker."""
        self._model = PlainModel()

    def decode_request(self, request: Request) -> tuple[str, bytes]:
        """Prompt and image of a multipart form. LitServe reads the annotation, so it is no string here."""
        return request["prompt"], request["image_file"].file.read()

    def predict(self, jobs: Any) -> Any:
        """Answer a batch. With a batch size of 1 it would get one request, which is none of the cases here."""
        return self._model.answer(jobs)

    def encode_response(self, objects: bytes) -> Any:
        """What is sent as JSON."""
        return json.loads(objects)


if __name__ == "__main__":
    # It would serve tools for agents as well, for which it needs another version of `mcp` than lies among our packages.
    litserve.server._MCP_AVAILABLE = False
    api = SegmentApi(max_batch_size=BATCH, batch_timeout=0.01)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=int(sys.argv[2]), timeout=120)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
