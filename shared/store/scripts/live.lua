-- Lists the workers or deliverers that are alive.
---@param set string  key of the workers of a model, or of the deliverers
---@param window_s number  seconds after its last heartbeat for which a process counts as alive
-- Returns `names`: their ids.

return {names = redis.call('ZRANGEBYSCORE', args.set, whole(now_ms() - args.window_s * 1000), '+inf')}
