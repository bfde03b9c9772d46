-- queued | processing -> canceled. An ended job stays as it is.
---@param id string
---@param retention_s number  seconds from the job's end until it expires
---@param image_retention_s number  seconds from the job's end until its image expires
---@param tombstone_s number  seconds from the job's expiry until that of its tombstone
-- Returns `status`: the status before, or nothing if there is no such job.

local job = redis.call('HMGET', job_key(args.id), 'status', 'model')
if job[1] == 'queued' or job[1] == 'processing' then
    cancel_job(args.id, job[2], args)
end
return {status = job[1]}
