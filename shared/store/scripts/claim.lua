-- queued -> processing: the next job goes to the caller, under a new fence token and a lease.
-- ARGV  model, milliseconds of the lease, 1 if the caller has no other job in hand
-- Returns the job's record, or nothing if no job waits that the caller may have.
--
-- Suspects go first, and only to a worker with empty hands; while one waits, no worker takes more, so that soon one has.

local model = ARGV[1]
local queue = ready_key(model)
if redis.call('ZCARD', quarantine_key(model)) > 0 then
    if ARGV[3] ~= '1' then
        return false
    end
    queue = quarantine_key(model)
end
local next_job = redis.call('ZPOPMIN', queue)
if #next_job == 0 then
    return false
end

local id, place = next_job[1], next_job[2]
if queue == ready_key(model) then
    if redis.call('ZCARD', queue) == 0 then
        redis.call('DEL', flows_key(model)) -- nobody waits: all flows are equal again
    else
        redis.call('HSET', flows_key(model), 'now', exact(math.max(service_place(model), tonumber(place))))
    end
end
redis.call('ZREM', waiting_of(id, model), id)
local now = now_ms()
redis.call('HSET', job_key(id), 'status', 'processing', 'started_at_ms', whole(now))
redis.call('HINCRBY', job_key(id), 'attempt', 1)
redis.call('HINCRBY', job_key(id), 'fence', 1)
redis.call('ZADD', running_key(model), whole(now + ARGV[2]), id)
redis.call('PUBLISH', CHANGES, id)
return redis.call('HGETALL', job_key(id))
