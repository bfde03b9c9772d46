"""The program of a job process: it runs the jobs that its worker gives it, and ends when its worker does."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from shared.images.sandbox import DecodingPool
from shared.process.logs import set_up_logging
from shared.process.private_memory import make_memory_private
from shared.process.redis_monitor import start_following
from shared.process.tracing import flush_traces, start_tracing
from shared.store.leases import LeaseStore
from worker.claims import Claim
from worker.job_end import JobEnd
from worker.job_processes.messages import Drop, Ended, Message, Ping, Pong, Ready, Reply, Run, SetUp, Unpacker, packed
from worker.job_processes.pixel_memory import PixelMemory
from worker.job_processes.remote_model import RemoteModel, within_run
from worker.job_runner import JobPipeline, JobRunner
from worker.jobs import JobThreads
from worker.pipeline import MAX_TILED_JOBS, Pipeline
from worker.stages.first_picture import first_picture

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_RECEIVED_BYTES = 1 << 18
_FLUSH_S = 1.0
"""How long the last spans may take to be sent. The worker waits for the end of its processes for 2 s."""

MakePipeline = Callable[[SetUp, RemoteModel], JobPipeline]
"""Makes what a job runs through."""


def run_job_process(make_pipeline: MakePipeline) -> NoReturn:
    """Run jobs until the worker has ended. Arguments of the program: the descriptors of the socket to the worker, and
    of the file of the memory that it shares."""
    make_memory_private()
    _end_with_worker()
    link = socket.socket(fileno=int(sys.argv[1]))
    try:
        JobProcess(link, int(sys.argv[2]), make_pipeline).run()
    except Exception:
        logger.critical("a job process failed", exc_info=True)
        os._exit(os.EX_SOFTWARE)
    flush_traces(_FLUSH_S)
    os._exit(0)  # jobs may still run, for a worker that is no more


def make_real_pipeline(set_up: SetUp, model: RemoteModel) -> JobPipeline:
    """The pipeline of a worker, with its share of what the worker may have."""
    settings = set_up.settings
    processes = settings.worker.job_processes
    images = settings.images.model_copy(
        update={"decode_processes": max(1, settings.images.decode_processes // processes)}
    )
    decoders = DecodingPool(images)
    first_picture(decoders, set_up.side)
    return Pipeline(decoders, model, set_up.calibration, max(1, MAX_TILED_JOBS // processes))


class JobProcess:
    """Reads what the worker sends on one thread, and runs each job on a thread of its own."""

    def __init__(self, link: socket.socket, memory_file: int, make_pipeline: MakePipeline) -> None:
        self._link = link
        self._memory_file = memory_file
        self._make_pipeline = make_pipeline
        self._unpacker = Unpacker()
        self._sending = threading.Lock()
        self._claims: dict[int, Claim] = {}
        """The jobs that run here, by the numbers of their runs."""

    def run(self) -> None:
        """Run jobs until the worker closes the socket."""
        while part := self._received():
            for message in self._unpacker.feed(part):
                self._handle(message)

    def _received(self) -> bytes:
        """The next part of what the worker sends; empty if it has closed the socket, whether it had read all or not."""
        try:
            return self._link.recv(_RECEIVED_BYTES)
        except ConnectionError:
            return b""

    def _handle(self, message: Message) -> None:
        match message:
            case Run():
                self._start(message)
            case Reply():
                self._model.receive(message)
            case Drop():
                if claim := self._claims.get(message.number):
                    claim.drop()
            case Ping():
                self._send(Pong())
            case SetUp():
                self._set_up(message)
            case _:
                raise TypeError(f"no message for a job process: {type(message).__name__}")

    def _set_up(self, message: SetUp) -> None:
        settings = message.settings
        set_up_logging(settings.logging)
        start_tracing(settings.logging, "maskq-worker")
        start_following(settings.redis)
        memory = PixelMemory(self._memory_file, message.side, message.slots)
        self._model = RemoteModel(self._send, memory, message.slots, message.side)
        runner = JobRunner(LeaseStore.connect(settings, message.worker_id), self._make_pipeline(message, self._model))
        self._jobs = JobThreads(runner, settings.worker.worker_threads)
        gc.freeze()  # no later collection of garbage has to look at what is loaded now
        self._send(Ready())

    def _start(self, message: Run) -> None:
        claim = self._claims[message.number] = Claim(message.lease, renewed_at=0.0)

        def ended(_: Claim, end: JobEnd) -> None:
            del self._claims[message.number]
            self._send(Ended(message.number, end))

        with within_run(message.number):
            self._jobs.start(claim, ended)

    def _send(self, message: Message) -> None:
        """Send a message from any thread. Ends this process if the worker is no more."""
        content = packed(message)
        try:
            with self._sending:
                self._link.sendall(content)
        except OSError:
            os._exit(0)


def _end_with_worker() -> None:
    """The end of the worker must end this process, and nothing else: a signal that a supervisor sends to all processes
    of the service is the worker's, which then lets jobs end. A thread that holds the interpreter could keep this
    process from reading the end of its socket, so the kernel ends it as well, where it can."""
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)  # not SIG_IGN, which would pass on to the processes that decode images
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
