-- Notes that replicas have the end of a job, so that nobody who reads it waits for them again. Nothing if it has not ended.
---@param id string

if redis.call('HGET', job_key(args.id), 'completed_at_ms') then
    redis.call('HSET', job_key(args.id), 'confirmed', '1')
end
