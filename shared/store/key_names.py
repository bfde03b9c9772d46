"""Every name maskq uses in Redis, for Python and for Lua, and nothing else."""

from __future__ import annotations

CHANGES = "maskq:changes"
"""Channel: the id of every job that moved."""
CANCELED = "maskq:canceled"
"""Channel: the id of every job that was canceled, for the worker that may be running it."""
DEADLINES = "maskq:deadlines"
"""Sorted set: the ids of unfinished jobs with a deadline, by that deadline in milliseconds."""
DELIVERY_TRIES = "maskq:delivery-tries"
"""Hash: how many tries of deliveries left them in each state. For figures only."""
DELIVERY_HOSTS = "maskq:delivery-hosts"
"""Sorted set: the hosts with pending deliveries, by the millisecond the first of those is due."""
DELIVERERS = "maskq:deliverers"
"""Sorted set: the processes that deliver webhooks, by the millisecond of their last heartbeat."""
API_KEYS = "maskq:api-keys"
"""Hash: the record of each API key as JSON, by the SHA-256 of its secret."""

_TEMPLATES = {
    "job": "maskq:job:%s",
    "image": "maskq:image:%s",
    "result": "maskq:result:%s",
    "tombstone": "maskq:tombstone:%s",
    "ready": "maskq:ready:%s",
    "quarantine": "maskq:quarantine:%s",
    "running": "maskq:running:%s",
    "flows": "maskq:flows:%s",
    "waiting": "maskq:waiting:%s:%s",
    "counts": "maskq:counts:%s",
    "workers": "maskq:workers:%s",
    "owned": "maskq:owned:%s",
    "cached": "maskq:cached:%s",
    "delivery": "maskq:delivery:%s",
    "attempts": "maskq:attempts:%s",
    "deliveries": "maskq:deliveries:%s",
    "webhook_secrets": "maskq:webhook-secrets:%s",
    "idempotency": "maskq:idempotency:%s:%s",
    "mean_duration": "maskq:mean-duration:%s",
    "rate": "maskq:rate:%s",
}


def job(job_id: str) -> str:
    """Hash: the job's record. Gone when its retention ends."""
    return _TEMPLATES["job"] % job_id


def image(job_id: str) -> str:
    """String: the image as it was uploaded. Gone some time after the job ended."""
    return _TEMPLATES["image"] % job_id


def result(job_id: str) -> str:
    """String: the result as JSON. Gone with the job."""
    return _TEMPLATES["result"] % job_id


def tombstone(job_id: str) -> str:
    """String: set when the job ends, outlives it. Tells an expired job from one that never was."""
    return _TEMPLATES["tombstone"] % job_id


def ready(model_id: str) -> str:
    """Sorted set: the ids of queued jobs by their place in the order of service (`scripts/README.md`)."""
    return _TEMPLATES["ready"] % model_id


def quarantine(model_id: str) -> str:
    """Sorted set: the ids of queued jobs whose worker was lost while it had them. They run alone."""
    return _TEMPLATES["quarantine"] % model_id


def running(model_id: str) -> str:
    """Sorted set: the ids of jobs in the hands of workers, by the millisecond their lease runs out."""
    return _TEMPLATES["running"] % model_id


def flows(model_id: str) -> str:
    """Hash: how far each flow of jobs has got in the order of service, and the order itself under `now`."""
    return _TEMPLATES["flows"] % model_id


def waiting(model_id: str, priority: str) -> str:
    """Sorted set: the ids of queued jobs of one priority, by the millisecond of their acceptance. For figures only."""
    return _TEMPLATES["waiting"] % (model_id, priority)


def counts(model_id: str) -> str:
    """Hash: how many jobs were accepted, answered from the cache, reaped, and ended in each state. For figures only."""
    return _TEMPLATES["counts"] % model_id


def workers(model_id: str) -> str:
    """Sorted set: the workers that serve a model, by the millisecond of their last heartbeat."""
    return _TEMPLATES["workers"] % model_id


def owned(owner: str) -> str:
    """Sorted set: the ids of an owner's jobs by the millisecond they were accepted at."""
    return _TEMPLATES["owned"] % owner


def cached(content: str) -> str:
    """String: the finished job whose result answers the same question again."""
    return _TEMPLATES["cached"] % content


def delivery(job_id: str) -> str:
    """Hash: how the announcement of an ended job fares, if it has a webhook. Gone with the job."""
    return _TEMPLATES["delivery"] % job_id


def attempts(job_id: str) -> str:
    """List: the latest tries of that delivery as JSON. Gone with the job."""
    return _TEMPLATES["attempts"] % job_id


def deliveries(host: str) -> str:
    """Sorted set: the ids of jobs with a pending delivery to a host, by the millisecond it is due, or due again if
    whoever has it in hand is lost."""
    return _TEMPLATES["deliveries"] % host


def webhook_secrets(owner: str) -> str:
    """Sorted set: the secrets that sign an owner's webhooks, by the millisecond they were made."""
    return _TEMPLATES["webhook_secrets"] % owner


def idempotency(owner: str, key: str) -> str:
    """String: the job an idempotency key stands for, and the fingerprint of what was asked."""
    return _TEMPLATES["idempotency"] % (owner, key)


def mean_duration(model_id: str) -> str:
    """String: how many milliseconds a job of this model took on average, over about the last eight."""
    return _TEMPLATES["mean_duration"] % model_id


def rate(key_id: str) -> str:
    """String: the microsecond at which an API key has paid for its requests (`scripts/admit.lua`)."""
    return _TEMPLATES["rate"] % key_id


def as_lua() -> str:
    """The same names for scripts: `job_key(id)` and so on, and the channels and sets that there is one of."""
    functions = [
        f"local function {name}_key(...) return string.format('{template}', ...) end"
        for name, template in _TEMPLATES.items()
    ]
    names = {
        "CHANGES": CHANGES,
        "CANCELED": CANCELED,
        "DEADLINES": DEADLINES,
        "DELIVERY_HOSTS": DELIVERY_HOSTS,
        "DELIVERY_TRIES": DELIVERY_TRIES,
        "DELIVERERS": DELIVERERS,
        "API_KEYS": API_KEYS,
    }
    return "\n".join([*functions, *(f"local {name} = '{value}'" for name, value in names.items())])
