-- (nothing) -> queued: the record, the image and the place in the queue, in one step.
-- KEYS  job, image, ready
-- ARGV  id, request as JSON, image bytes, most jobs that may wait
-- Returns {moved, jobs ahead}. moved is 0 if the queue is full. Submitting the same id again changes nothing.

if redis.call('EXISTS', KEYS[1]) == 0 then
    local waiting = redis.call('ZCARD', KEYS[3])
    if waiting >= tonumber(ARGV[4]) then
        return {0, waiting}
    end
    local now = now_us()
    redis.call('HSET', KEYS[1], 'id', ARGV[1], 'status', 'queued', 'request', ARGV[2],
        'created_at_ms', whole(math.floor(now / 1000)))
    redis.call('SET', KEYS[2], ARGV[3])
    redis.call('ZADD', KEYS[3], whole(now), ARGV[1])
end
return {1, redis.call('ZRANK', KEYS[3], ARGV[1]) or 0}
