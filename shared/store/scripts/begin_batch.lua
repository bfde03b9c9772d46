-- (nothing) -> open: a request begins a batch, or finds the one that it began before with the same key.
---@param id string  of the new batch
---@param owner string
---@param key string  the idempotency key
---@param fingerprint string  SHA-256 of all fields beside the images
---@param flow string  PRIORITY:CLIENT, as of a job
---@param ref? string  the client's own name for the batch
---@param webhook? string  as JSON
---@param webhook_host? string
---@param idempotency_s number  seconds for which the key is kept after the latest request
---@param empty_s number  the same, and for the batch, until its first image is accepted or it is closed
-- Returns `outcome` and the `id` of the batch:
--   'begun'     it is new.
--   'found'     an earlier request has begun it.
--   'mismatch'  the key was used for another request.
--   'expired'   the batch of the key is no longer kept.

-- Keeps the key of a batch.
local function keep(binding, id)
    if redis.call('EXISTS', batch_jobs_key(id)) == 1 or redis.call('HEXISTS', batch_key(id), 'closed') == 1 then
        redis.call('EXPIRE', binding, args.idempotency_s)
    else
        redis.call('EXPIRE', binding, args.empty_s)
        redis.call('EXPIRE', batch_key(id), args.empty_s)
    end
end

local binding = batch_binding_key(args.owner, args.key)
local found = redis.call('GET', binding)
if found then
    local fingerprint = redis.call('HGET', batch_key(found), 'fingerprint')
    if not fingerprint then
        return {outcome = 'expired', id = found}
    elseif fingerprint ~= args.fingerprint then
        return {outcome = 'mismatch', id = found}
    end
    keep(binding, found)
    return {outcome = 'found', id = found}
end
local record = {'owner', args.owner, 'key', args.key, 'flow', args.flow, 'fingerprint', args.fingerprint, 'open', 0,
    'created_at_ms', whole(now_ms())}
for name, value in pairs({ref = args.ref, webhook = args.webhook, webhook_host = args.webhook_host}) do
    record[#record + 1], record[#record + 2] = name, value
end
redis.call('HSET', batch_key(args.id), unpack(record))
redis.call('SET', binding, args.id)
keep(binding, args.id)
return {outcome = 'begun', id = args.id}
