-- queued -> processing: the job that has waited longest goes to the caller, under a new fence token.
-- KEYS  ready
-- ARGV  prefix of job keys, channel of changes
-- Returns the job's record, or nothing if no job waits.

while true do
    local oldest = redis.call('ZPOPMIN', KEYS[1])
    if #oldest == 0 then
        return false
    end
    local job = ARGV[1] .. oldest[1]
    if redis.call('HGET', job, 'status') == 'queued' then
        redis.call('HSET', job, 'status', 'processing', 'started_at_ms', whole(now_ms()))
        redis.call('HINCRBY', job, 'attempt', 1)
        redis.call('HINCRBY', job, 'fence', 1)
        redis.call('PUBLISH', ARGV[2], oldest[1])
        return redis.call('HGETALL', job)
    end
end
