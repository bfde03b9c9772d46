"""How a job process reads what its worker sends."""

from __future__ import annotations

import select
import socket
import threading

from testing.scripted_pipeline import ScriptedPipeline
from worker.job_processes.job_process import JobProcess
from worker.job_processes.messages import Ping, packed

_PATIENCE_S = 10.0


def test_a_worker_that_ends_with_unread_answers_is_no_error() -> None:
    worker, link = socket.socketpair()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            JobProcess(link, -1, lambda *_: ScriptedPipeline()).run()
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    worker.sendall(packed(Ping()))
    assert select.select([worker], [], [], _PATIENCE_S)[0]  # the answer is there, and nobody reads it
    worker.close()
    thread.join(_PATIENCE_S)
    link.close()
    assert not thread.is_alive()
    assert failures == []
