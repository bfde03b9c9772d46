"""The service of one worker process: puts the job loop and the periodic tasks together, starts them and stops them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from redis.exceptions import RedisError

from shared.process.failpoints import failpoint
from shared.process.identity import unique_process_name
from shared.process.notifier import POLL_S
from shared.process.periodic import PeriodicTask
from shared.settings import LivenessSettings, Settings, WorkerSettings
from shared.store.leases import LeaseStore
from worker.claims import Claim, Claims
from worker.job_end import JobEnd
from worker.job_loop import JobLoop
from worker.jobs import RunsJobs
from worker.metrics import WorkerMetrics
from worker.periodic.cancel_listener import CancelListener
from worker.periodic.engine_watchdog import EngineWatchdog, WatchedEngine
from worker.periodic.lease_renewal import LeaseRenewal
from worker.periodic.queue_poll import QueuePoll
from worker.periodic.recovery import RECOVERY_S, Recovery
from worker.process_locks import ProcessLocks

_SWEEP_S = 600.0
"""Period in which a worker removes images that no job needs."""
_AWAKE_S = 5.0
"""How long a worker looks for jobs after the last one. Then the next job costs a notification."""
_MAX_CHECK_S = 1.0
"""Maximum period between two checks of a time limit, which happen at least four times within it."""

logger = logging.getLogger(__name__)


class WorkerService:
    """Runs jobs when it is notified, and periodic tasks in between. Safe to share between threads."""

    def __init__(
        self,
        store: LeaseStore,
        model_id: str,
        runs_jobs: RunsJobs,
        engine: WatchedEngine,
        notify_worker: Callable[[], None],
        notify_webhooks: Callable[[str], None],
        liveness: LivenessSettings,
        worker: WorkerSettings,
        locks: ProcessLocks,
    ) -> None:
        """`notify_worker` makes a worker that is asleep, this one or another, look for jobs. `notify_webhooks` starts
        the delivery of a job's webhook. The service closes `store` and what runs its jobs when it stops."""
        self._store = store
        self._model_id = model_id
        self._jobs = runs_jobs(store)
        self._notify_webhooks = notify_webhooks
        self._drain_s = liveness.drain_s
        self._worker_id = store.worker_id
        self._locks = locks
        self._claims = Claims(store, model_id, worker.worker_threads)
        self._metrics = WorkerMetrics(worker, model_id, lambda: len(self._claims), engine.stats)
        self._job_loop = JobLoop(store, self._claims, self._start, model_id, self._worker_id)
        self._cancels = CancelListener(store, self._claims)
        renewal = LeaseRenewal(store, self._claims, model_id, self._worker_id, liveness.give_up_s)
        poll = QueuePoll(store, self._job_loop, model_id, self._worker_id, notify_worker)
        recovery = Recovery(store, locks, notify_worker)
        watchdog = EngineWatchdog(engine, worker.stuck_s)
        self._periodic_tasks: Sequence[PeriodicTask] = [
            PeriodicTask("heartbeat", liveness.heartbeat_s, renewal.renew),
            PeriodicTask("lease limit", min(_MAX_CHECK_S, liveness.give_up_s / 4), renewal.drop_unrenewed),
            PeriodicTask("reaper", liveness.heartbeat_s, lambda: store.reap(model_id)),
            PeriodicTask("recovery", RECOVERY_S, recovery.run),
            PeriodicTask("queue poll", POLL_S, poll.poll),
            PeriodicTask("engine watchdog", min(_MAX_CHECK_S, worker.stuck_s / 4), watchdog.check),
            PeriodicTask("image sweeper", _SWEEP_S, store.sweep_images),
            PeriodicTask("cancel listener", 1.0, self._cancels.listen),
        ]

    @classmethod
    def connect(
        cls,
        settings: Settings,
        model_id: str,
        runs_jobs: RunsJobs,
        engine: WatchedEngine,
        notify_worker: Callable[[], None],
        notify_webhooks: Callable[[str], None],
    ) -> Self:
        """A service with a store of its own. Arguments as in the constructor."""
        store = LeaseStore.connect(settings, unique_process_name())
        notify = notify_worker, notify_webhooks
        locks = ProcessLocks.of(settings)
        return cls(store, model_id, runs_jobs, engine, *notify, settings.liveness, settings.worker, locks)

    def describe(self, facts: Mapping[str, str]) -> None:
        """As `WorkerMetrics.describe`."""
        self._metrics.describe(facts)

    def start(self) -> None:
        """Start the periodic tasks and the metrics server. From here on others can see that this process has ended."""
        self._jobs.wait_until_ready()
        self._metrics.serve()
        self._locks.hold(self._worker_id, self._model_id)
        for task in self._periodic_tasks:
            task.start()

    def notified(self) -> None:
        """Run jobs, and look for more for a while. See `JobLoop.stay_awake`."""
        self._job_loop.stay_awake(_AWAKE_S)

    def run_pending(self) -> int:
        """Run jobs until none is left. Returns how many. See `JobLoop.run_until_empty`."""
        return self._job_loop.run_until_empty()

    def drain(self) -> None:
        """Claim no further jobs. Jobs that are still in flight after `drain_s` are released."""
        self._claims.close()
        drain = threading.Timer(self._drain_s, self._claims.release_all)
        drain.daemon = True
        drain.start()

    def stop(self) -> None:
        """Stop everything, remove this worker from the live ones, and disconnect."""
        self._cancels.stop()
        self._jobs.close()
        for task in self._periodic_tasks:
            task.stop()
        try:
            self._store.deregister(self._model_id, self._worker_id)
        except RedisError as error:
            logger.warning("could not remove this worker from the live ones: %s", type(error).__name__)
        if not self._claims:  # a job that still runs is this process's until it has ended
            self._locks.close()
        self._store.close()

    def __len__(self) -> int:
        """Number of jobs in flight."""
        return len(self._claims)

    def _start(self, claim: Claim) -> None:
        failpoint("worker.claimed")
        self._jobs.start(claim, self._ended)

    def _ended(self, claim: Claim, end: JobEnd) -> None:
        """A job is done with, on any thread."""
        failpoint("worker.ended")
        job = claim.lease.job
        self._metrics.job_ended(job, end)
        if end.is_stored and job.webhook:
            self._notify_webhooks(job.id)
        self._claims.end(claim)
