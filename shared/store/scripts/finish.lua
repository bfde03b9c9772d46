-- processing -> succeeded | failed: only with the present fence token.
---@param id string
---@param model string
---@param token string  the fence token of the claim
---@param status string  succeeded or failed
---@param result? string  as JSON
---@param error? string  as JSON
---@param metrics string  as JSON
---@param result_cache_s number  seconds for which the result may answer the same request again
---@param retention_s number  seconds from the job's end until it expires
---@param image_retention_s number  seconds from the job's end until its image expires
---@param tombstone_s number  seconds from the job's expiry until that of its tombstone
-- Returns `is_finished`: false if the job was canceled, claimed by another worker, or has ended otherwise. True and without
-- effect if this claim has finished it so before: the worker did not learn it, or waits for replicas.

local id = args.id
if not is_claimed_with(id, args.token) then
    return {is_finished = is_finished_with(id, args.token) and redis.call('HGET', job_key(id), 'status') == args.status}
end
if args.result then
    redis.call('SET', result_key(id), args.result)
    local content = redis.call('HGET', job_key(id), 'content')
    if content then
        redis.call('SET', cached_key(content), id, 'EX', math.min(args.result_cache_s, args.retention_s))
    end
end
if args.error then
    redis.call('HSET', job_key(id), 'error', args.error)
end
redis.call('HSET', job_key(id), 'metrics', args.metrics)
record_duration(id, args.model)
end_job(id, args.model, args.status, args)
return {is_finished = true}
