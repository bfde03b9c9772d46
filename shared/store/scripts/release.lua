-- processing -> queued: a worker that stops as planned returns a job. It keeps its place; the attempt does not count.
-- ARGV  id, model, fence
-- Returns 1, or 0 if the job is not in the caller's hands.

local id, model = ARGV[1], ARGV[2]
if not is_claimed_by(id, ARGV[3]) then
    return 0
end
redis.call('HINCRBY', job_key(id), 'attempt', -1)
requeue(id, model)
return 1
