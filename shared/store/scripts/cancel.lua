-- queued | processing -> canceled.
-- ARGV  id, seconds to keep the job, its image, and its tombstone after that
-- Returns the status the job had, or nothing if there is no such job. An ended job stays as it is.

local job = redis.call('HMGET', job_key(ARGV[1]), 'status', 'model')
if job[1] == 'queued' or job[1] == 'processing' then
    cancel_job(ARGV[1], job[2], numbers(2))
end
return job[1]
