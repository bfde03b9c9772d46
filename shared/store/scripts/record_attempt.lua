-- Records an attempt of a delivery: only with the present fence token, and only once.
---@param id string  of the job or of the batch
---@param token string  the fence token of the claim
---@param attempt string  as JSON
---@param state string  new state of the delivery: pending, delivered or failed
---@param retry_in_ms number  until the next attempt, if the state is pending
---@param max_attempts_kept number  older ones are removed
-- Returns `state`: the new state, or nothing if the fence token is stale. It is failed if the record would have expired
-- before the next attempt. If this claim has recorded its attempt before, because the deliverer did not learn it or waits for
-- replicas: the present state, and nothing changes.

local id, state = args.id, args.state
local delivery = redis.call('HMGET', delivery_key(id), 'fence', 'token', 'host', 'client', 'recorded', 'state')
if delivery[5] == args.token then
    return {state = delivery[6]}
end
if not is_present_token(args.token, delivery[1], delivery[2]) then
    return
end
local due = now_ms() + args.retry_in_ms
if state == 'pending' and due >= tonumber(redis.call('HGET', record_key(id), 'expires_at_ms') or 0) then
    state = 'failed'
end
redis.call('HSET', delivery_key(id), 'state', state, 'recorded', args.token)
redis.call('HINCRBY', DELIVERY_COUNTS, state, 1)
redis.call('HINCRBY', delivery_key(id), 'attempts', 1)
redis.call('HINCRBY', delivery_key(id), 'fence', 1)
redis.call('RPUSH', attempts_key(id), args.attempt)
redis.call('LTRIM', attempts_key(id), -args.max_attempts_kept, -1)
redis.call('PEXPIRE', attempts_key(id), redis.call('PTTL', delivery_key(id)))
if state == 'pending' then
    schedule_delivery(id, delivery[4] or '', delivery[3], due)
else
    unschedule_delivery(id, delivery[4] or '', delivery[3])
end
return {state = state}
