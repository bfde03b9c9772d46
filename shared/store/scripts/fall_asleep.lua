-- A worker that found no job looks for none until it is notified: by whoever submits the next job.
---@param model string
---@param worker string
-- Returns `is_asleep`: false if a job waits.

if redis.call('ZCARD', ready_key(args.model)) + redis.call('ZCARD', quarantine_key(args.model)) > 0 then
    return {is_asleep = false}
end
redis.call('SADD', asleep_key(args.model), args.worker)
return {is_asleep = true}
