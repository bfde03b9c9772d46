-- open -> closed: a batch takes no more images, because it has all, or was canceled or deleted. It ends with the last of
-- its jobs. A deleted batch sends no webhook.
---@param id string
---@param reason string  complete, canceled or deleted
---@param jobs number  how many jobs it must have; 0: any number
---@param refused? string  the images that became no job, as JSON
---@param idempotency_s number  seconds for which its key is kept
---@param retention_s number  seconds from its end until it expires
-- Returns `lacks_jobs`: it has fewer, or does not exist, because a failover has forgotten some; nothing changes then. A batch
-- that is closed keeps its reason, until it is deleted.

local batch = batch_key(args.id)
if redis.call('HLEN', batch_jobs_key(args.id)) < args.jobs then
    return {lacks_jobs = true}
end
if redis.call('EXISTS', batch) == 0 then
    return
end
if redis.call('HSETNX', batch, 'closed', args.reason) == 1 then
    redis.call('PERSIST', batch) -- until its last job has ended
    redis.call('PERSIST', batch_jobs_key(args.id))
    keep_batch_binding(args.id, args.idempotency_s)
    if args.refused then
        redis.call('HSET', batch, 'refused', args.refused)
    end
end
if args.reason == 'deleted' then
    redis.call('HSET', batch, 'closed', 'deleted')
    redis.call('HDEL', batch, 'webhook', 'webhook_host')
    remove_delivery(args.id)
end
end_batch_if_done(args.id, args.retention_s)
