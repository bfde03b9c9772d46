-- processing -> queued | failed: jobs whose lease ran out, because their worker died, froze or lost its connection.
-- queued | processing -> canceled: jobs whose deadline has passed.
-- ARGV  model, most times a job may lose a worker while it runs alone, error of such a job as JSON, error of a job
--       whose deadline passed as JSON, most jobs to move in one go, seconds to keep a job, its image, its tombstone
-- Returns {given back, failed, canceled}.

local model, limit, keep = ARGV[1], ARGV[5], numbers(6)
local now = whole(now_ms())
local released, failed = 0, 0

for _, id in ipairs(redis.call('ZRANGEBYSCORE', running_key(model), '-inf', now, 'LIMIT', 0, limit)) do
    -- The first loss may have been a neighbour's fault. From then on the job runs alone, and losses are its own.
    local losses = 0
    if redis.call('HGET', job_key(id), 'quarantined') == '1' then
        losses = redis.call('HINCRBY', job_key(id), 'losses_alone', 1)
    end
    if losses >= tonumber(ARGV[2]) then
        redis.call('HSET', job_key(id), 'error', ARGV[3])
        end_job(id, model, 'failed', keep)
        failed = failed + 1
    else
        redis.call('HSET', job_key(id), 'quarantined', '1')
        requeue(id, model)
        released = released + 1
    end
end

if released + failed > 0 then
    count(model, 'reaped', released + failed)
end

local late = redis.call('ZRANGEBYSCORE', DEADLINES, '-inf', now, 'LIMIT', 0, limit)
for _, id in ipairs(late) do
    redis.call('HSET', job_key(id), 'error', ARGV[4])
    cancel_job(id, redis.call('HGET', job_key(id), 'model'), keep)
end
return {released, failed, #late}
