-- processing -> queued | failed: jobs whose lease has ended because their worker died, froze or lost its connection; or
-- the jobs of a worker whose process is known to have ended, or of a part of it.
-- queued | processing -> canceled: jobs whose deadline has passed.
---@param model string
---@param worker? string  id of a worker that has ended: only its jobs, whatever their leases
---@param grace_ms number  for so long after a server has become the primary only the jobs of `worker` and `claims` are reaped: other
--                workers may be alive and not reconnected yet
---@param max_losses_alone number  a job that lost so many workers while it ran alone fails
---@param worker_lost string  error of such a job as JSON
---@param deadline_exceeded string  error of a job whose deadline has passed as JSON
---@param max_jobs number  most jobs whose lease or deadline has passed, each; the next call takes the rest
---@param retention_s number  seconds from a job's end until it expires
---@param image_retention_s number  seconds from a job's end until its image expires
---@param tombstone_s number  seconds from a job's expiry until that of its tombstone
---@param claims string[]  id and fence token of each job, in turns, of claims that are known to have ended: only these jobs
-- Returns the number of jobs that were `released`, `failed` and `canceled`, and `ended`: the ids of the latter two.

local model = args.model
local now = whole(now_ms())
local released, failed = 0, 0
local ended = {}

local function claimed_jobs()
    local claimed = {}
    for index = 1, #args.claims, 2 do
        if is_claimed_with(args.claims[index], args.claims[index + 1]) then
            claimed[#claimed + 1] = args.claims[index]
        end
    end
    return claimed
end

-- When it was tried for the first time to reap since this server has started or become the primary. Both give it another
-- `master_replid`. What it finds at first is that of an earlier primary, or its own from before.
local function first_try_ms()
    local history = redis.call('INFO', 'replication'):match('master_replid:(%x+)') or ''
    local known = redis.call('GET', reaper_key(model))
    local since = known and known:match('^' .. history .. ' (%d+)$')
    if not since or tonumber(since) > tonumber(now) then -- or the clock was set back
        redis.call('SET', reaper_key(model), history .. ' ' .. now)
        return now
    end
    return since
end

if not args.worker and #args.claims == 0 and now - first_try_ms() < args.grace_ms then
    return {released = 0, failed = 0, canceled = 0, ended = {}}
end

local function lost_jobs()
    if #args.claims > 0 then
        return claimed_jobs()
    end
    if args.worker then
        return held_by(model, args.worker)
    end
    return redis.call('ZRANGEBYSCORE', running_key(model), '-inf', now, 'LIMIT', 0, args.max_jobs)
end

for _, id in ipairs(lost_jobs()) do
    -- Another job on the same worker may have caused the first loss. After it the job runs alone, and causes its losses.
    local losses = 0
    if redis.call('HGET', job_key(id), 'quarantined') == '1' then
        losses = redis.call('HINCRBY', job_key(id), 'losses_alone', 1)
    end
    if losses >= args.max_losses_alone then
        redis.call('HSET', job_key(id), 'error', args.worker_lost)
        end_job(id, model, 'failed', args)
        failed = failed + 1
        table.insert(ended, id)
    else
        if losses > 0 then
            charge_time(id, model)
        end
        redis.call('HSET', job_key(id), 'quarantined', '1')
        requeue(id, model)
        released = released + 1
    end
end

if released + failed > 0 then
    count(model, 'reaped', released + failed)
end

local overdue = redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now, 'LIMIT', 0, args.max_jobs)
for _, id in ipairs(overdue) do
    redis.call('HSET', job_key(id), 'error', args.deadline_exceeded)
    cancel_job(id, redis.call('HGET', job_key(id), 'model'), args)
    table.insert(ended, id)
end
count_images(args.max_jobs)
return {released = released, failed = failed, canceled = #overdue, ended = ended}
