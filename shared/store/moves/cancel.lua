-- queued | processing -> canceled. A worker that holds the job loses it: its fence token is stale from here on.
-- KEYS  job, image, result, tombstone, ready
-- ARGV  id, channel of changes, seconds to keep the job, its image, and its tombstone after that
-- Returns the status the job had, or nothing if there is no such job. An ended job stays as it is.

local status = redis.call('HGET', KEYS[1], 'status')
if status == 'queued' or status == 'processing' then
    redis.call('ZREM', KEYS[5], ARGV[1])
    redis.call('HINCRBY', KEYS[1], 'fence', 1)
    end_job(ARGV[1], 'canceled', ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]))
end
return status
