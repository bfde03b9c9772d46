"""A service whose texts try to control the terminal, and whose jobs never end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EVIL = "[red]x[/red] \x1b]0;title\x07 \x1b[2J \x9b31m \u202e \n\r[/nope]"
JOB_ID = "queued"


def _job(job_id: str, status: str) -> dict[str, Any]:
    found = {"label": EVIL, "score": 0.5, "box": [0, 0, 1, 1], "area": 1, "mask": None}
    result = {"image": {"width": 1, "height": 1}, "objects": [found], "truncated": False, "notes": [EVIL]}
    texts = {"prompt": EVIL, "model_id": EVIL, "ref": EVIL, "file_name": EVIL, "metadata": {EVIL: EVIL}}
    error = {"type": EVIL, "detail": EVIL} if status == "failed" else None
    times = {"created_at": "2026-01-01T00:00:00Z", "deadline_at": None}
    has_result = status == "succeeded"
    return {"id": job_id, "status": status, **times, **texts, "error": error, "result": result if has_result else None}


class HostileService:
    """Jobs have the state that is their id; a request that waits for `queued` never gets an answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_waited_for = threading.Event()
        self.stopped = threading.Event()

    def answer(self, method: str, path: str) -> tuple[int, object]:
        """Status and body."""
        if path.startswith("/jobs?"):
            return 200, {"jobs": [_job(EVIL, "succeeded")], "next_cursor": None}
        if path.startswith("/models"):
            return 200, [{"id": EVIL, "about": EVIL, "resolution": None, "live_workers": 1}]
        if method == "POST":
            return 202, _job(JOB_ID, "queued")
        name = path.split("/")[2].partition("?")[0]
        if "wait=" in path and name == JOB_ID:
            self.is_waited_for.set()
            self.stopped.wait()
        if name not in (JOB_ID, "succeeded", "failed"):
            return 404, {"type": EVIL, "title": EVIL, "detail": EVIL}
        return 200, _job(name, name)


@contextmanager
def hostile_service() -> Iterator[HostileService]:
    """Run it in threads."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = service.answer(self.command, self.path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        service = HostileService(f"http://127.0.0.1:{server.server_port}")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield service
        finally:
            service.stopped.set()
            server.shutdown()
