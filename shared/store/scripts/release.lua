-- processing -> queued: a worker that stops as planned releases a job. The job keeps its position, and the attempt is
-- not counted.
---@param id string
---@param model string
---@param token string  the fence token of the claim
-- Returns `is_released`: false if the token is stale.

if not is_claimed_with(args.id, args.token) then
    return {is_released = false}
end
redis.call('HINCRBY', job_key(args.id), 'attempt', -1)
requeue(args.id, args.model)
return {is_released = true}
