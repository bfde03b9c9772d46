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
-- Returns `outcome` and the `id` of the batch:
--   'begun'     it is new.
--   'found'     an earlier request has begun it.
--   'mismatch'  the key was used for another request.
--   'expired'   the batch of the key is no longer kept.
-- A new batch without images is kept for as long as its key.

local binding = batch_binding_key(args.owner, args.key)
local found = redis.call('GET', binding)
if found then
    local fingerprint = redis.call('HGET', batch_key(found), 'fingerprint')
    if not fingerprint then
        return {outcome = 'expired', id = found}
    elseif fingerprint ~= args.fingerprint then
        return {outcome = 'mismatch', id = found}
    end
    redis.call('EXPIRE', binding, args.idempotency_s)
    return {outcome = 'found', id = found}
end
local record = {'owner', args.owner, 'flow', args.flow, 'fingerprint', args.fingerprint, 'open', 0,
    'created_at_ms', whole(now_ms())}
for name, value in pairs({ref = args.ref, webhook = args.webhook, webhook_host = args.webhook_host}) do
    record[#record + 1], record[#record + 2] = name, value
end
redis.call('HSET', batch_key(args.id), unpack(record))
redis.call('EXPIRE', batch_key(args.id), args.idempotency_s)
redis.call('SET', binding, args.id, 'EX', args.idempotency_s)
return {outcome = 'begun', id = args.id}
