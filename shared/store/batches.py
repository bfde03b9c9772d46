"""A batch as the script `read_batch` returns it."""

from __future__ import annotations

from shared.domain.batch import Batch, BatchJob
from shared.errors import BatchNotFound
from shared.store.lua_script import Reply
from shared.store.records import text


def batch_from_reply(batch_id: str, reply: Reply) -> Batch:
    """The batch.

    Raises:
        BatchNotFound: the reply is empty.
    """
    if not reply:
        raise BatchNotFound("no batch has this id, or it has expired")
    found = zip(reply["indexes"], reply["jobs"], reply["statuses"], strict=True)
    jobs = [BatchJob(index=index, id=text(job_id), status=text(status)) for index, job_id, status in found]
    return Batch(id=batch_id, owner=text(reply["owner"]), jobs=jobs)
