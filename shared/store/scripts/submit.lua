-- (nothing) -> queued: writes the record, the image, the position in the fair queue and the idempotency key.
-- (nothing) -> succeeded: if the result cache has the result.
---@param id string
---@param request string  as JSON
---@param image? string  its bytes; absent if images are kept elsewhere
---@param model string
---@param owner string
---@param flow string  PRIORITY:CLIENT, whose jobs are served in order
---@param weight number  of the flow in the fair queue
---@param times_free number  a client may use at most so many times what is free: shared/domain/fair_share.py
---@param timeout_s? number  seconds until the deadline
---@param max_queued_jobs number
---@param memory_bytes number  what the server may use until images are refused; 0 if there is no limit
---@param other_bytes number  what it uses for other things than images
---@param idempotency_key? string
---@param idempotency_s number  seconds for which the key is kept
---@param fingerprint? string  SHA-256 of all that was requested; only needed with a key or in a batch
---@param content? string  SHA-256 of all that the result depends on; absent if results are not cached
---@param batch? string  id of the open batch that the job belongs to
---@param batch_index? number  of its image in that batch
---@param webhook? string  as JSON
---@param webhook_host? string
---@param retention_s number  seconds from the job's end until it expires
---@param image_retention_s number  seconds from the job's end until its image expires
---@param tombstone_s number  seconds from the job's expiry until that of its tombstone
-- Returns `outcome`:
--   'full'      and `waiting`: the number of jobs that wait. There is no room for another.
--   'no_room'   there is no room for the image.
--   'share'     and `resource`, jobs or images: the client uses its share of them.
--   'mismatch'  and `id` of a job that was submitted with the idempotency key, or for this image of the batch, by
--               another request.
--   'closed'    the batch takes no more images, and `reason`: complete, canceled, deleted or expired.
--   or all that `job_state` returns, and `id`: of this job, or of the job that was submitted with the idempotency key,
--   or for this image of the batch; and `wakes_worker`: a worker of this model is asleep and must be notified.
-- Nothing changes if there is a job with this id already.

local MAX_IMAGES_CHECKED = 100 -- by one call
local LIST_S = 30 * 86400 -- a job that waits for longer than a month is read by its id, but no longer listed
local id, model, owner = args.id, args.model, args.owner

local function state_of(job_id)
    local state = job_state(job_id, true)
    state.id = job_id
    return state
end

if redis.call('EXISTS', job_key(id)) == 1 then
    return state_of(id)
end
local used = args.idempotency_key and redis.call('GET', idempotency_key(owner, args.idempotency_key))
    or args.batch and redis.call('HGET', batch_jobs_key(args.batch), whole(args.batch_index))
if used then
    local used_id, fingerprint = used:match('^(%S+) (%S+)$')
    if fingerprint ~= args.fingerprint then
        return {outcome = 'mismatch', id = used_id}
    end
    return state_of(used_id)
end
if args.batch then
    local batch = redis.call('HMGET', batch_key(args.batch), 'owner', 'closed')
    if batch[2] or not batch[1] then
        return {outcome = 'closed', reason = batch[2] or 'expired'}
    end
end

local client = client_of(args.flow)

-- Whether the client has some already and would have more than its share. The first is granted whenever there is room.
local function exceeds_share(numbers, more, free)
    local used = tonumber(redis.call('HGET', numbers, client) or 0)
    return used > 0 and used + more > args.times_free * (free - more)
end

local waiting = redis.call('ZCARD', ready_key(model)) + redis.call('ZCARD', quarantine_key(model))
if exceeds_share(waiting_clients_key(model), 1, args.max_queued_jobs - waiting) then
    return {outcome = 'share', resource = 'jobs'}
end
if waiting >= args.max_queued_jobs then
    return {outcome = 'full', waiting = waiting}
end
if args.image and args.memory_bytes > 0 then
    count_images(MAX_IMAGES_CHECKED)
    local free = args.memory_bytes - args.other_bytes - tonumber(redis.call('HGET', IMAGE_BYTES, 'total') or 0)
    if exceeds_share(IMAGE_BYTES, #args.image, free) then
        return {outcome = 'share', resource = 'images'}
    end
    if #args.image > free then
        return {outcome = 'no_room'}
    end
end

local now = now_ms()
local record = {'id', id, 'status', 'queued', 'request', args.request, 'model', model, 'owner', owner,
    'flow', args.flow, 'weight', exact(args.weight), 'created_at_ms', whole(now)}

local function add_field(name, value)
    record[#record + 1], record[#record + 2] = name, value
end

-- Start-time fair queueing: a job's start tag is that of the next job of its flow, or the virtual time if that is later.
-- The next job of the flow starts later by the job's cost, 1, divided by the weight of the flow.
local function enqueue()
    local tags = redis.call('HMGET', flows_key(model), 'virtual_time', args.flow)
    local start_tag = math.max(tonumber(tags[1] or 0), tonumber(tags[2] or 0))
    local charged = charge_of(model, args.flow)
    redis.call('HSET', flows_key(model), args.flow, exact(start_tag + 1 / args.weight))
    redis.call('ZADD', ready_key(model), exact(start_tag), id)
    start_waiting(id, model, args.flow, whole(now))
    add_field('start_tag', exact(start_tag))
    if charged > 0 then
        add_field('charged', exact(charged))
    end
    if args.content then
        add_field('content', args.content) -- for the cache, when this job has a result
    end
    if args.timeout_s then
        redis.call('ZADD', DEADLINES, whole(now + args.timeout_s * 1000), id)
    end
end

local twin = args.content and redis.call('GET', cached_key(args.content))
local is_cached = twin and redis.call('COPY', result_key(twin), result_key(id)) == 1
if is_cached then
    add_field('cached', '1')
    add_field('started_at_ms', whole(now))
else
    enqueue()
end
if args.webhook then
    add_field('webhook', args.webhook)
    add_field('webhook_host', args.webhook_host)
end
if args.batch then
    add_field('batch', args.batch)
end
if args.timeout_s then
    add_field('deadline_at_ms', whole(now + args.timeout_s * 1000))
end
redis.call('HSET', job_key(id), unpack(record))
count(model, 'accepted')
if args.image then
    store_image(id, args.image, client)
end
if args.idempotency_key then
    redis.call('SET', idempotency_key(owner, args.idempotency_key), id .. ' ' .. args.fingerprint,
        'EX', args.idempotency_s)
end

-- The owner's list grows by one and loses up to two expired jobs, so that few of those are in it.
for _, oldest in ipairs(redis.call('ZRANGE', owned_key(owner), 0, 1)) do
    if redis.call('EXISTS', job_key(oldest)) == 0 then
        redis.call('ZREM', owned_key(owner), oldest)
    end
end
redis.call('ZADD', owned_key(owner), whole(now), id)
redis.call('EXPIRE', owned_key(owner), args.retention_s + LIST_S)

if args.batch then
    redis.call('HINCRBY', batch_key(args.batch), 'open', 1)
    redis.call('HSET', batch_jobs_key(args.batch), whole(args.batch_index), id .. ' ' .. args.fingerprint)
    redis.call('EXPIRE', batch_key(args.batch), args.retention_s + LIST_S)
    redis.call('EXPIRE', batch_jobs_key(args.batch), args.retention_s + LIST_S)
    keep_batch_binding(args.batch, args.idempotency_s)
end

if is_cached then
    count(model, 'cached')
    end_job(id, model, 'succeeded', args)
    return state_of(id)
end
local state = state_of(id)
state.wakes_worker = redis.call('SPOP', asleep_key(model)) and true
return state
