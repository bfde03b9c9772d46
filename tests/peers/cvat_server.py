"""A stand-in for the HTTP API of CVAT: one task, as far as `cvat-cli task auto-annotate` reads and writes it. CVAT
itself is a dozen containers."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from testing.servers import website

TASK = 7
_NOW = "2026-11-01T10:00:00Z"
_TEXTS = ("name", "description", "subtitle", "logo_url")
_EDITED = {"deleted_frames": [], "chunks_updated_date": _NOW}
_LABELS = {"url": "http://localhost/none"}
_JOBS = {**_LABELS, "count": 0, "completed": 0, "validation": 0}


@dataclass
class CvatServer:
    """The task, and what was uploaded to it."""

    labels: Mapping[str, str]
    """Type by name. The ids are 101, 102 and so on."""
    images: Mapping[str, tuple[bytes, int, int]]
    """File, width and height by name."""
    url: str = ""
    shapes: list[Any] = field(default_factory=list)

    def shapes_of(self, frame: int, label: str) -> list[Any]:
        """What was uploaded for an image and a label."""
        label_id = 101 + list(self.labels).index(label)
        return [each for each in self.shapes if (each["frame"], each["label_id"]) == (frame, label_id)]

    def answer(self, path: str) -> Any:
        """The JSON, or the bytes, at a path."""
        return {
            "/api/server/about": {**dict.fromkeys(_TEXTS, ""), "version": "2.80.0"},
            f"/api/tasks/{TASK}": self._task(),
            "/api/labels": {"count": len(self.labels), "next": None, "previous": None, "results": self._labels()},
            f"/api/tasks/{TASK}/data/meta": self._meta(),
            f"/api/tasks/{TASK}/data": self._chunk(),
        }[path.rstrip("/")]

    def _task(self) -> Any:
        about = {"id": TASK, "name": "test", "size": len(self.images), "data_chunk_size": 10}
        kinds = {"data_original_chunk_type": "imageset", "data_compressed_chunk_type": "imageset", "dimension": "2d"}
        rest = {"mode": "annotation", "status": "annotation", "updated_date": _NOW, "organization": None}
        return {**about, **kinds, **rest, "jobs": _JOBS, "labels": _LABELS}

    def _labels(self) -> list[Any]:
        return [
            {"id": number, "name": name, "type": kind, "attributes": [], "sublabels": [], "has_parent": False}
            for number, (name, kind) in enumerate(self.labels.items(), 101)
        ]

    def _meta(self) -> Any:
        frames = [
            {"name": name, "width": width, "height": height, "related_files": 0}
            for name, (_, width, height) in self.images.items()
        ]
        limits = {"start_frame": 0, "stop_frame": len(frames) - 1, "frame_filter": "", "chunk_size": 10}
        return {**limits, "size": len(frames), **_EDITED, "frames": frames}

    def _chunk(self) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            for number, (content, _, _) in enumerate(self.images.values()):
                archive.writestr(f"{number:06}.png", content)
        return file.getvalue()


@contextmanager
def cvat_server(labels: Mapping[str, str], images: Mapping[str, tuple[bytes, int, int]]) -> Iterator[CvatServer]:
    """A server that runs inside the context."""
    state = CvatServer(labels, images)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(state.answer(urlsplit(self.path).path))

        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.shapes += body["shapes"]
            self._send({**body, "version": 1, "tracks": []})

        def _send(self, answer: Any) -> None:
            is_file = isinstance(answer, bytes)
            body = answer if is_file else json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/zip" if is_file else "application/vnd.cvat+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Write nothing."""

    with website(Handler) as state.url:
        yield state


def decoded(points: Sequence[float]) -> set[tuple[int, int]]:
    """The pixels (x, y) of a mask: its run lengths row by row, first those outside, then its box, both ends
    inclusive."""
    *runs, x0, y0, x1, _ = map(int, points)
    inside = [bool(index % 2) for index, run in enumerate(runs) for _ in range(run)]
    width = x1 - x0 + 1
    return {(x0 + index % width, y0 + index // width) for index, each in enumerate(inside) if each}
