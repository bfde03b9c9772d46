-- Records that a worker is alive, and renews the leases of its jobs.
---@param model string
---@param worker string  the worker's id
---@param window_s number  seconds after its last heartbeat until a worker is forgotten
---@param lease_ms number  length of a lease
---@param claims string[]  id and fence token of each job, in turns
-- Returns `lost`: ids of the jobs whose fence token is stale. That of a job which this claim has finished is not.

local now = now_ms()
record_heartbeat(workers_key(args.model), args.worker, args.window_s)
local lost = {}
for index = 1, #args.claims, 2 do
    local id, token = args.claims[index], args.claims[index + 1]
    if is_claimed_with(id, token) then
        redis.call('ZADD', running_key(args.model), whole(now + args.lease_ms), id)
    elseif not is_finished_with(id, token) then
        lost[#lost + 1] = id
    end
end
return {lost = lost}
