-- A deliverer is about to send what it has claimed: the lease of a delivery begins anew.
---@param id string  of the job or of the batch
---@param token string  the fence token of the claim
---@param lease_ms number  length of the lease
-- Returns `now_ms`, the time, or nothing if the fence token is stale.

local delivery = redis.call('HMGET', delivery_key(args.id), 'fence', 'token', 'host', 'client')
if not is_present_token(args.token, delivery[1], delivery[2]) then
    return
end
local now = now_ms()
schedule_delivery(args.id, delivery[4] or '', delivery[3], now + args.lease_ms)
return {now_ms = now}
