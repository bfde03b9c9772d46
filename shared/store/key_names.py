"""Every name of maskq in Redis, for Python and for Lua: `job(job_id)` is `job_key(id)` in a script."""

from __future__ import annotations

import re


class KeyName:
    """The name of one key per job, model, owner, host or API key: `maskq:job:{job_id}`, with values in place of braces.

    Raises:
        TypeError: a call has more or fewer values than the pattern has braces.
    """

    def __init__(self, pattern: str) -> None:
        self._format = re.sub(r"\{\w+\}", "%s", pattern)
        self.values = re.findall(r"\{(\w+)\}", pattern)

    def __call__(self, *values: str) -> str:
        return self._format % values

    def as_lua(self, function: str) -> str:
        """The same function for Lua: `local function job_key(job_id) return 'maskq:job:' .. job_id end`."""
        values = ", ".join(self.values)
        name = "'" + self._format.replace("%s", "' .. %s .. '") % tuple(self.values) + "'"
        return f"local function {function}({values}) return {name.removesuffix(' .. ' + repr(''))} end"


UNUSED = "maskq:unused"
"""Nothing writes it. Every process may, and so finds out whether the server takes writes."""
CHANGES = "maskq:changes"
"""Channel: the id of a job, after each of its transitions."""
CANCELED = "maskq:canceled"
"""Channel: the id of a job when it is canceled, for the worker that may be running it."""
DEADLINES = "maskq:deadlines"
"""Sorted set: ids of unfinished jobs with a deadline; score: the deadline in milliseconds."""
DELIVERY_COUNTS = "maskq:delivery-counts"
"""Hash: number of delivery attempts by the state in which they left the delivery. For metrics only."""
DELIVERY_CLIENTS = "maskq:delivery-clients"
"""Sorted set: clients with pending deliveries; score: the millisecond at which the first of them is due. A client whose
due deliveries are all to full hosts goes behind the others."""
OLD_DELIVERY_HOSTS = "maskq:delivery-hosts"
"""What `delivery_hosts` is in ledgers of an earlier version, for all clients. `claim_delivery.lua` takes it over."""
IMAGE_BYTES = "maskq:image-bytes"
"""Hash: bytes of the stored images of each client, and of all clients under `total`."""
IMAGES = "maskq:images"
"""Sorted set: `JOB_ID BYTES CLIENT` of each image in `IMAGE_BYTES`; score: the millisecond at which to look whether it
is still there."""
DELIVERERS = "maskq:deliverers"
"""Sorted set: processes that deliver webhooks; score: the millisecond of their last heartbeat."""
API_KEYS = "maskq:api-keys"
"""Hash: record of each API key as JSON, by the SHA-256 of its secret."""
LINK_SECRET = "maskq:link-secret"
"""String: the secret that signs links. Made when it is first needed; to delete it ends all links."""
CONFIRMED = "maskq:confirmed"
"""String, always empty: written before a process waits for replicas, with `confirm_replicas`."""

job = KeyName("maskq:job:{job_id}")
"""Hash: the record of a job. Expires at the end of its retention."""
image = KeyName("maskq:image:{job_id}")
"""String: the image as it was uploaded. Expires some time after the job has ended."""
result = KeyName("maskq:result:{job_id}")
"""String: the result as JSON. Expires with the job."""
tombstone = KeyName("maskq:tombstone:{job_id}")
"""String: the last status of a job, or `deleted`; set when the job ends or is deleted, and expires after the job.
Without it an expired job would look like none."""
ready = KeyName("maskq:ready:{model_id}")
"""Sorted set: ids of queued jobs; score: their start tag, the position in the fair queue (`scripts/README.md`)."""
quarantine = KeyName("maskq:quarantine:{model_id}")
"""Sorted set: ids of queued jobs that are quarantined, because their worker was lost. They run alone."""
running = KeyName("maskq:running:{model_id}")
"""Sorted set: ids of claimed jobs; score: the millisecond at which their lease ends."""
reaper = KeyName("maskq:running:{model_id}:reaper")
"""String: the `master_replid` of the primary at which it was tried last to reap jobs, a space, and the millisecond of
the first time. No model has a colon in its id."""
flows = KeyName("maskq:flows:{model_id}")
"""Hash: start tag of the next job of each flow, and the virtual time of the fair queue under `virtual_time`."""
charges = KeyName("maskq:charges:{model_id}")
"""Hash: by how much the start tags of each flow are late, because its jobs took longer than is typical."""
waiting_clients = KeyName("maskq:waiting-clients:{model_id}")
"""Hash: number of queued jobs of each client, quarantined ones included."""
waiting = KeyName("maskq:waiting:{model_id}:{priority}")
"""Sorted set: ids of queued jobs of one priority; score: the millisecond of their acceptance. For metrics only."""
work = KeyName("maskq:work:{model_id}")
"""List: an element while jobs wait. A worker that is awake and has found none waits for it; who takes it looks for
jobs, and puts it back if some are left."""
asleep = KeyName("maskq:asleep:{model_id}")
"""Set: workers that look for no job until they are notified. One more or less changes nothing but timing."""
counts = KeyName("maskq:counts:{model_id}")
"""Hash: number of jobs that were accepted, answered from the cache, reaped, and by final state. For metrics only."""
workers = KeyName("maskq:workers:{model_id}")
"""Sorted set: workers that serve a model; score: the millisecond of their last heartbeat."""
owned = KeyName("maskq:owned:{owner}")
"""Sorted set: ids of an owner's jobs; score: the millisecond of their acceptance."""
batch = KeyName("maskq:batch:{batch_id}")
"""Hash: the record of a batch: whose it is, `open`, the number of its jobs that have not ended, the number of those
that have by status, and `closed` once it takes no more images. Expires some time after its end."""
batch_jobs = KeyName("maskq:batch-jobs:{batch_id}")
"""Hash: id of the job, a space, and the fingerprint of the image, by the index of the image in the request, from 0."""
batch_binding = KeyName("maskq:batch-binding:{owner}:{key}")
"""String: id of the batch that was submitted with an idempotency key."""
cached = KeyName("maskq:cached:{content}")
"""String: id of a finished job with the same content (model, prompt, formats and image), whose result is used again."""
delivery = KeyName("maskq:delivery:{ended_id}")
"""Hash: state of the delivery of the webhook of an ended job or batch. Expires with it."""
attempts = KeyName("maskq:attempts:{ended_id}")
"""List: the latest attempts of that delivery as JSON. Expires with it."""
delivery_hosts = KeyName("maskq:delivery-hosts:{client}")
"""Sorted set: hosts with pending deliveries of a client; score: the millisecond at which the first of them is due."""
deliveries = KeyName("maskq:deliveries:{lane}")
"""Sorted set: ids of jobs and batches with a pending delivery of one client to one host, which together are a lane,
`HOST CLIENT`; score: the millisecond at which it is due, which for a claimed delivery is the end of its lease."""
webhook_secrets = KeyName("maskq:webhook-secrets:{owner}")
"""Sorted set: secrets that sign an owner's webhooks; score: the millisecond at which they were made."""
idempotency = KeyName("maskq:idempotency:{owner}:{key}")
"""String: id of the job that was submitted with an idempotency key, a space, and the fingerprint of its request."""
mean_duration = KeyName("maskq:mean-duration:{model_id}")
"""String: milliseconds that a job of this model takes, as a moving average over about the last eight."""
typical_duration = KeyName("maskq:typical-duration:{model_id}")
"""String: milliseconds than which about a quarter of this model's jobs were shorter."""
rate = KeyName("maskq:rate:{key_id}:{kind}")
"""String: the microsecond until which an API key has used up its rate for one kind of request (`scripts/admit.lua`)."""


def as_lua(source: str) -> str:
    """The names that a script uses, as local functions and variables in front of it.

    The server creates them anew with every call, so unused ones would slow it down.
    """
    words = set(re.findall(r"\w+", source))
    functions = {f"{name}_key": value for name, value in globals().items() if isinstance(value, KeyName)}
    constants = {name: value for name, value in globals().items() if name.isupper()}
    return "\n".join(
        [
            *(value.as_lua(name) for name, value in functions.items() if name in words),
            *(f"local {name} = '{value}'" for name, value in constants.items() if name in words),
        ]
    )
