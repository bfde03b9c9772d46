-- queued -> processing: a worker claims the next job, under a new fence token and a lease.
---@param model string
---@param lease_ms number  length of the lease
---@param is_idle boolean  whether the worker has no other job in flight
-- Returns `record`: fields and values of the job's hash; or nothing if no job waits that this worker may claim.
--
-- Quarantined jobs come first, and only an idle worker may claim one. While one waits, no worker claims other jobs, so
-- that a worker becomes idle soon.

local model = args.model
local queue = ready_key(model)
if redis.call('ZCARD', quarantine_key(model)) > 0 then
    if not args.is_idle then
        return
    end
    queue = quarantine_key(model)
end
local next_job = redis.call('ZPOPMIN', queue)
if #next_job == 0 then
    return
end

local id, start_tag = next_job[1], next_job[2]
if queue == ready_key(model) then
    if redis.call('ZCARD', queue) == 0 then
        redis.call('DEL', flows_key(model)) -- no job waits: all flows are equal again
    else
        redis.call('HSET', flows_key(model), 'virtual_time', exact(math.max(virtual_time(model), tonumber(start_tag))))
    end
end
redis.call('ZREM', waiting_key_of(id, model), id)
local now = now_ms()
redis.call('HSET', job_key(id), 'status', 'processing', 'started_at_ms', whole(now))
redis.call('HINCRBY', job_key(id), 'attempt', 1)
redis.call('HINCRBY', job_key(id), 'fence', 1)
redis.call('ZADD', running_key(model), whole(now + args.lease_ms), id)
redis.call('PUBLISH', CHANGES, id)
return {record = redis.call('HGETALL', job_key(id))}
