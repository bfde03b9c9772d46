-- any state -> (nothing): removes a job with its image, its result and its delivery. Only a tombstone stays, so that a
-- worker or a client that still has the id learns what happened, and a repeated request with the job's idempotency key
-- does not run again what was deleted.
---@param id string
---@param retention_s number  seconds from the end of a batch until it expires
---@param tombstone_s number  seconds until the tombstone expires
-- Returns `is_deleted`: false if there is no such job.

local id = args.id
local job = named(redis.call('HGETALL', job_key(id)))
if not job.status then
    return {is_deleted = false}
end
if job.status == 'queued' or job.status == 'processing' then
    if job.status == 'processing' then
        charge_time(id, job.model)
    end
    withdraw(id, job.model)
    count(job.model, 'canceled')
    count_in_batch(id, 'canceled', args.retention_s)
end
remove_delivery(id)
if job.content and redis.call('GET', cached_key(job.content)) == id then
    redis.call('DEL', cached_key(job.content))
end
redis.call('ZREM', owned_key(job.owner), id)
remove_image(id, 0)
redis.call('DEL', job_key(id), result_key(id))
redis.call('SET', tombstone_key(id), 'deleted', 'EX', args.tombstone_s)
redis.call('PUBLISH', CHANGES, id)
redis.call('PUBLISH', CANCELED, id)
return {is_deleted = true}
