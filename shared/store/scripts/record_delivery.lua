-- How a try of a delivery went: only for the holder of the present fence token, and only once.
-- ARGV  id, fence, the try as JSON, new state, milliseconds until the next try if that is 'pending', most tries to keep
-- Returns the new state, or nothing if the delivery is not in the caller's hands. What would be tried after the job is
-- gone has failed.

local id, state = ARGV[1], ARGV[4]
local row = redis.call('HMGET', delivery_key(id), 'fence', 'host')
if row[1] ~= ARGV[2] then
    return false
end
local due = now_ms() + ARGV[5]
if state == 'pending' and due >= tonumber(redis.call('HGET', job_key(id), 'expires_at_ms') or 0) then
    state = 'failed'
end
redis.call('HSET', delivery_key(id), 'state', state)
redis.call('HINCRBY', DELIVERY_TRIES, state, 1)
redis.call('HINCRBY', delivery_key(id), 'tries', 1)
redis.call('HINCRBY', delivery_key(id), 'fence', 1)
redis.call('RPUSH', attempts_key(id), ARGV[3])
redis.call('LTRIM', attempts_key(id), -ARGV[6], -1)
redis.call('PEXPIRE', attempts_key(id), redis.call('PTTL', delivery_key(id)))
if state == 'pending' then
    schedule_delivery(id, row[2], due)
else
    unschedule_delivery(id, row[2])
end
return state
