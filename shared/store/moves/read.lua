-- A job as it is, and what one needs to say when to come back. Changes nothing.
-- ARGV  id
-- Returns {its record, jobs ahead of it or nothing, its result as JSON or nothing, jobs of its model in the hands of
--          workers, milliseconds one of those takes or nothing, milliseconds since it was given to a worker or nothing};
--         or 'expired', or nothing if there never was such a job.

local id = ARGV[1]
local record = redis.call('HGETALL', job_key(id))
if #record == 0 then
    return redis.call('EXISTS', tombstone_key(id)) == 1 and 'expired'
end
local job = redis.call('HMGET', job_key(id), 'status', 'model', 'suspect', 'started_at_ms')
local status, model = job[1], job[2]
local ahead, result, running_ms = false, false, false
if status == 'queued' then
    ahead = redis.call('ZRANK', job[3] == '1' and suspects_key(model) or ready_key(model), id)
elseif status == 'processing' then
    running_ms = now_ms() - job[4]
elseif status == 'succeeded' then
    result = redis.call('GET', result_key(id))
    if not result then
        return 'expired' -- a moment before its record
    end
end
return {record, ahead, result, redis.call('ZCARD', running_key(model)), redis.call('GET', pace_key(model)), running_ms}
