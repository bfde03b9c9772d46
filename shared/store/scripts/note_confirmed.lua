-- Notes that replicas have the end of a job, so that nobody who reads it waits for them again. Nothing if it has not ended.
---@param id string

local job = redis.call('HMGET', job_key(args.id), 'status', 'completed_at_ms')
if job[1] and job[2] then
    redis.call('HSET', job_key(args.id), 'confirmed', '1')
end
