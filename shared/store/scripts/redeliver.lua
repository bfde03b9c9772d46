-- A delivery, whatever its state, is due at once and starts from the beginning of its schedule.
-- ARGV  id
-- Returns 1, or 0 if there is none. Whoever has it in hand finds that it is not theirs any more.

local id = ARGV[1]
local host = redis.call('HGET', delivery_key(id), 'host')
if not host then
    return 0
end
redis.call('HSET', delivery_key(id), 'state', 'pending', 'tries', 0)
redis.call('HINCRBY', delivery_key(id), 'fence', 1)
schedule_delivery(id, host, now_ms())
return 1
