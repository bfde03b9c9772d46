-- Makes a delivery due at once, in any state, from the beginning of its schedule. A claim of it becomes stale.
---@param id string  of the job or of the batch
-- Returns `is_due`: false if there is no such delivery.

local id = args.id
local delivery = redis.call('HMGET', delivery_key(id), 'host', 'client')
if not delivery[1] then
    return {is_due = false}
end
redis.call('HSET', delivery_key(id), 'state', 'pending', 'attempts', 0)
redis.call('HINCRBY', delivery_key(id), 'fence', 1)
schedule_delivery(id, delivery[2] or '', delivery[1], now_ms())
return {is_due = true}
