-- processing -> queued: a worker that stops as planned releases a job. The job keeps its position, and the attempt is
-- not counted.
---@param id string
---@param model string
---@param fence number
-- Returns `is_released`: false if the fence token is stale.

if not is_claimed_with(args.id, args.fence) then
    return {is_released = false}
end
redis.call('HINCRBY', job_key(args.id), 'attempt', -1)
requeue(args.id, args.model)
return {is_released = true}
