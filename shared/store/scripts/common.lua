-- Functions for all scripts. `key_names.py` is put in front of them. Times are those of the server's clock.

-- Fails on a server that is no primary, or may have been replaced by another one: what it has may be old, and what it
-- lacks may exist. Writing no bytes to a key that nobody writes changes nothing. A server whose memory or disk is full
-- refuses that too, but its data can be read. The command must be one that it refuses then: after any other write of a script
-- it would allow all that follow.
local function require_primary()
    local reply = redis.pcall('SETRANGE', UNUSED, 0, '')
    local code = type(reply) == 'table' and reply.err and reply.err:match('^-?(%u+)')
    if code == 'READONLY' or code == 'NOREPLICAS' then
        error(reply)
    end
end

local function now_us()
    local time = redis.call('TIME')
    return time[1] * 1000000 + time[2]
end

local function now_ms()
    return math.floor(now_us() / 1000)
end

-- A whole number as text: Lua itself would write 1.7e+15.
local function whole(number)
    return string.format('%.0f', number)
end

-- Any number as text, with all its digits.
local function exact(number)
    return string.format('%.17g', number)
end

-- For optional arguments: nil for an empty string.
local function present(text)
    if text ~= '' then
        return text
    end
end

-- For lists at the end of the arguments.
local function elements_from(list, first)
    local found = {}
    for index = first, #list do
        found[#found + 1] = list[index]
    end
    return found
end

-- Named results as Redis can return them: {name, value, name, value, ...}.
local function flat(results)
    local list, length = {}, 0
    for name, value in pairs(results or {}) do
        list[length + 1], list[length + 2] = name, value
        length = length + 2
    end
    return list
end

-- The reverse, for hashes that Redis returns.
local function named(list)
    local values = {}
    for index = 1, #list, 2 do
        values[list[index]] = list[index + 1]
    end
    return values
end

-- Records that the process `name` is alive, and removes those that have sent nothing for `window_s` seconds.
local function record_heartbeat(set, name, window_s)
    local now = now_ms()
    redis.call('ZADD', set, whole(now), name)
    redis.call('ZREMRANGEBYSCORE', set, '-inf', whole(now - window_s * 1000))
    redis.call('EXPIRE', set, math.ceil(window_s))
end

-- The fence token of a claim: `fence`, which counts the claims of a job or a delivery, and what its claimer chose at random.
-- The count alone could come twice: a server that takes over may not know the latest claims.
local function token_of(fence, nonce)
    return fence .. '-' .. nonce
end

-- Whether `token` is that of the present claim, by the fields `fence` and `token` of a record. What an older version claims has
-- its count alone for a token, and then `token` is that of an earlier claim.
local function is_present_token(token, fence, latest)
    local has_token = latest and latest:match('^%d+') == fence
    return token == (has_token and latest or fence)
end

-- Whether `token` is the present fence token of a job that a worker has claimed.
local function is_claimed_with(id, token)
    local job = redis.call('HMGET', job_key(id), 'status', 'fence', 'token')
    return job[1] == 'processing' and is_present_token(token, job[2], job[3])
end

-- Whether the claim with this token has finished the job: nothing else writes metrics.
local function is_finished_with(id, token)
    local job = redis.call('HMGET', job_key(id), 'metrics', 'fence', 'token')
    return job[1] and is_present_token(token, job[2], job[3])
end

-- The running jobs of a model that a worker has claimed. `holder` is the count of the claim and the worker.
local function held_by(model, worker)
    local held = {}
    for _, id in ipairs(redis.call('ZRANGE', running_key(model), 0, -1)) do
        local job = redis.call('HMGET', job_key(id), 'fence', 'holder')
        if job[2] == (job[1] or '') .. ' ' .. worker then
            held[#held + 1] = id
        end
    end
    return held
end

-- The virtual time of the fair queue: the start tag that service has reached.
local function virtual_time(model)
    return tonumber(redis.call('HGET', flows_key(model), 'virtual_time') or 0)
end

-- By how much the start tags of a flow are late. 0 for a job of an older version.
local function charge_of(model, flow)
    return flow and tonumber(redis.call('HGET', charges_key(model), flow) or 0) or 0
end

-- The state of a job, and what an estimate of its end needs. Returns `outcome`:
--   'missing': there never was such a job.
--   'expired': it ended, and its retention is over.
--   'deleted': its owner has deleted it.
--   'found', and with it
--     record              fields and values of the job's hash
--     jobs_ahead          jobs before it in the queue, if it is queued
--     result              as JSON, if it has succeeded and `with_result` is true: it may have megabytes
--     running             number of running jobs of its model
--     mean_duration_ms    of jobs of its model, as text; absent before the first has ended
--     running_ms          milliseconds since it was claimed, if it is running
local function job_state(id, with_result)
    local record = redis.call('HGETALL', job_key(id))
    if #record == 0 then
        local tombstone = redis.call('GET', tombstone_key(id))
        return {outcome = tombstone == 'deleted' and 'deleted' or tombstone and 'expired' or 'missing'}
    end
    local job = named(record)
    local state = {
        outcome = 'found',
        record = record,
        running = redis.call('ZCARD', running_key(job.model)),
        mean_duration_ms = redis.call('GET', mean_duration_key(job.model)),
    }
    if job.status == 'queued' then
        local queue = job.quarantined == '1' and quarantine_key(job.model) or ready_key(job.model)
        state.jobs_ahead = redis.call('ZRANK', queue, id)
    elseif job.status == 'processing' then
        state.running_ms = now_ms() - job.started_at_ms
    elseif job.status == 'succeeded' then
        if redis.call('EXISTS', result_key(id)) == 0 then
            return {outcome = 'expired'} -- the result expires a moment before the record
        end
        if with_result then
            state.result = redis.call('GET', result_key(id))
        end
    end
    return state
end

-- The client of a job by its flow, which is its priority, a colon and its client. Nil for a job of an older version,
-- which has no flow: what counts clients leaves it out.
local function client_of(flow)
    return flow and flow:match('^%a+:(.*)$')
end

-- The priority of a job by its flow; by its request in JSON, without defaults, for a job of an older version.
local function priority_of(id, flow)
    if flow then
        return flow:match('^%a+')
    end
    return cjson.decode(redis.call('HGET', job_key(id), 'request')).priority or 'normal'
end

-- Adds to the number of a client in a hash, and removes numbers that are used up.
local function add_for(hash, client, change)
    if redis.call('HINCRBY', hash, client, whole(change)) <= 0 then
        redis.call('HDEL', hash, client)
    end
end

-- What workers wait for is there while jobs wait, and is not while none does.
local function signal_work(model)
    if redis.call('LLEN', work_key(model)) == 0 then
        redis.call('RPUSH', work_key(model), '1')
    end
end

-- A queued job is in the set of its priority and counts for its client, once.
local function start_waiting(id, model, flow, created_at_ms)
    local added = redis.call('ZADD', waiting_key(model, priority_of(id, flow)), created_at_ms, id)
    if added == 1 and flow then
        add_for(waiting_clients_key(model), client_of(flow), 1)
    end
    signal_work(model)
end

local function stop_waiting(id, model)
    local flow = redis.call('HGET', job_key(id), 'flow')
    local removed = redis.call('ZREM', waiting_key(model, priority_of(id, flow)), id)
    if removed == 1 and flow then
        add_for(waiting_clients_key(model), client_of(flow), -1)
    end
end

-- Bytes of stored images, of a client and of all.
local function add_image_bytes(client, bytes)
    add_for(IMAGE_BYTES, client, bytes)
    add_for(IMAGE_BYTES, 'total', bytes)
end

local IMAGE_CHECK_S = 3600

-- Looks at images that may be gone, at most `limit` of them, and no longer counts those that are. So the count is right
-- again within an hour whatever removed an image: its expiry, or a worker of an older version.
local function count_images(limit)
    local now = now_ms()
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', IMAGES, '-inf', whole(now), 'LIMIT', 0, limit)) do
        local id, bytes, client = member:match('^(%S+) (%d+) (.*)$')
        local ttl = redis.call('PTTL', image_key(id))
        if ttl == -2 then
            redis.call('ZREM', IMAGES, member)
            add_image_bytes(client, -bytes)
        else
            redis.call('ZADD', IMAGES, whole(now + (ttl < 0 and IMAGE_CHECK_S * 1000 or ttl)), member)
        end
    end
end

local function image_member(id, bytes, client)
    return ('%s %d %s'):format(id, bytes, client)
end

local function store_image(id, image, client)
    redis.call('SET', image_key(id), image)
    redis.call('ZADD', IMAGES, whole(now_ms() + IMAGE_CHECK_S * 1000), image_member(id, #image, client))
    add_image_bytes(client, #image)
end

-- Removes the image of a job, or keeps it for `kept_s` seconds.
local function remove_image(id, kept_s)
    local bytes = redis.call('STRLEN', image_key(id))
    if bytes == 0 then
        return
    end
    local client = client_of(redis.call('HGET', job_key(id), 'flow')) or ''
    local member = image_member(id, bytes, client)
    if kept_s > 0 then
        redis.call('EXPIRE', image_key(id), kept_s)
        redis.call('ZADD', IMAGES, 'XX', whole(now_ms() + kept_s * 1000), member)
    else
        redis.call('DEL', image_key(id))
        if redis.call('ZREM', IMAGES, member) == 1 then
            add_image_bytes(client, -bytes)
        end
    end
end

local function count(model, event, times)
    redis.call('HINCRBY', counts_key(model), event, times or 1)
end

-- processing -> queued: the job goes to the front of its queue, or into quarantine if it is quarantined.
local function requeue(id, model)
    local job = redis.call('HMGET', job_key(id), 'start_tag', 'quarantined', 'created_at_ms', 'flow')
    local queue = job[2] == '1' and quarantine_key(model) or ready_key(model)
    redis.call('ZREM', running_key(model), id)
    redis.call('HSET', job_key(id), 'status', 'queued', 'charged', exact(charge_of(model, job[4])))
    redis.call('ZADD', queue, exact(math.min(tonumber(job[1]), virtual_time(model))), id)
    start_waiting(id, model, job[4], job[3])
    redis.call('PUBLISH', CHANGES, id)
end

-- Gives `member` of the set `index` the lowest score of the set `key`. An empty set has no member in its index.
local function index_first(index, member, key)
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    if first[1] then
        redis.call('ZADD', index, first[2], member)
    else
        redis.call('ZREM', index, member)
    end
end

-- The deliveries of one client to one host. Those of ledgers of an older version have no client.
local function lane_of(client, host)
    return client == '' and host or host .. ' ' .. client
end

-- A host of a client is due when the first of its deliveries is; a client when the first of its hosts is.
local function refresh_lane(client, host)
    index_first(delivery_hosts_key(client), host, deliveries_key(lane_of(client, host)))
    index_first(DELIVERY_CLIENTS, client, delivery_hosts_key(client))
end

local function schedule_delivery(id, client, host, due_ms)
    redis.call('ZADD', deliveries_key(lane_of(client, host)), whole(due_ms), id)
    refresh_lane(client, host)
end

local function unschedule_delivery(id, client, host)
    redis.call('ZREM', deliveries_key(lane_of(client, host)), id)
    refresh_lane(client, host)
end

-- The record of the job or of the batch with this id. No batch has the id of a job.
local function record_key(id)
    return redis.call('EXISTS', batch_key(id)) == 1 and batch_key(id) or job_key(id)
end

-- Writes the delivery of an ended job or batch that has a webhook. It is due at once and expires with its record.
local function create_delivery(id, record, now, retention_s)
    local ended = redis.call('HMGET', record, 'webhook_host', 'flow')
    if ended[1] then
        local client = client_of(ended[2]) or ''
        redis.call('HSET', delivery_key(id), 'state', 'pending', 'client', client, 'host', ended[1], 'fence', 0,
            'attempts', 0)
        redis.call('EXPIRE', delivery_key(id), retention_s)
        schedule_delivery(id, client, ended[1], now)
    end
end

local function remove_delivery(id)
    local delivery = redis.call('HMGET', delivery_key(id), 'client', 'host')
    if delivery[2] then
        unschedule_delivery(id, delivery[1] or '', delivery[2])
    end
    redis.call('DEL', delivery_key(id), attempts_key(id))
end

-- Keeps the idempotency key of a batch for `idempotency_s` seconds from now on.
local function keep_batch_binding(id, idempotency_s)
    local batch = redis.call('HMGET', batch_key(id), 'owner', 'key')
    if batch[2] then
        redis.call('EXPIRE', batch_binding_key(batch[1], batch[2]), idempotency_s)
    end
end

-- A closed batch ends with the last of its jobs, and then its webhook gets its message.
local function end_batch_if_done(id, retention_s)
    local batch = redis.call('HMGET', batch_key(id), 'open', 'closed', 'ended_at_ms')
    if tonumber(batch[1] or 0) > 0 or not batch[2] or batch[3] then
        return
    end
    local now = now_ms()
    redis.call('HSET', batch_key(id), 'ended_at_ms', whole(now), 'expires_at_ms', whole(now + retention_s * 1000))
    redis.call('EXPIRE', batch_key(id), retention_s)
    redis.call('EXPIRE', batch_jobs_key(id), retention_s)
    create_delivery(id, batch_key(id), now, retention_s)
end

-- Counts the end of a job in its batch, if it has one. Called once for each job.
local function count_in_batch(id, status, retention_s)
    local batch = redis.call('HGET', job_key(id), 'batch')
    if batch and redis.call('EXISTS', batch_key(batch)) == 1 then
        redis.call('HINCRBY', batch_key(batch), 'open', -1)
        redis.call('HINCRBY', batch_key(batch), status, 1)
        end_batch_if_done(batch, retention_s)
    end
end

-- When a worker finishes a job: updates the mean duration of its model's jobs, a moving average over about eight, and the
-- typical one. That rises a little with each longer job and falls three times as much with each shorter one, so it comes
-- to rest where a quarter is shorter: there, a client whose jobs take long cannot raise it while others have jobs as well.
local function record_duration(id, model)
    local duration = now_ms() - redis.call('HGET', job_key(id), 'started_at_ms')
    local mean = tonumber(redis.call('GET', mean_duration_key(model)) or duration)
    redis.call('SET', mean_duration_key(model), exact(mean + (duration - mean) / 8))
    local typical = tonumber(redis.call('GET', typical_duration_key(model)) or duration)
    redis.call('SET', typical_duration_key(model), exact(math.max(1, typical * (duration > typical and 1.05 or 0.85))))
end

local function others_wait(model, client)
    local clients = redis.call('HLEN', waiting_clients_key(model))
    return clients > redis.call('HEXISTS', waiting_clients_key(model), client)
end

-- Charges the flow of a running job for its time: the start tags of the flow's other jobs become later, as if the job had
-- been as many jobs as its time is typical durations. It has paid for one. Free while no other client waits.
local function charge_time(id, model)
    local MAX_COST, NOISE_MS = 100, 50
    if redis.call('HLEN', waiting_clients_key(model)) == 0 then
        return
    end
    local job = redis.call('HMGET', job_key(id), 'flow', 'weight', 'started_at_ms')
    local typical = redis.call('GET', typical_duration_key(model))
    if not job[1] or not typical or not others_wait(model, client_of(job[1])) then
        return
    end
    local cost = math.min(MAX_COST, math.floor((now_ms() - job[3]) / math.max(NOISE_MS, typical)))
    if cost > 1 then
        local delay = (cost - 1) / job[2]
        local next_tag = math.max(virtual_time(model), tonumber(redis.call('HGET', flows_key(model), job[1]) or 0))
        redis.call('HSET', flows_key(model), job[1], exact(next_tag + delay))
        redis.call('HSET', charges_key(model), job[1], exact(charge_of(model, job[1]) + delay))
    end
end

-- Removes a job from the running jobs, or from the queue that it is in.
local function withdraw(id, model)
    if redis.call('ZREM', running_key(model), id) == 1 then
        charge_time(id, model)
    else
        redis.call('ZREM', ready_key(model), id)
        redis.call('ZREM', quarantine_key(model), id)
        stop_waiting(id, model)
    end
    redis.call('ZREM', DEADLINES, id)
end

-- queued | processing -> `status`. `retention` has retention_s, image_retention_s and tombstone_s. Only a job that has
-- succeeded keeps its image: for the overlay.
local function end_job(id, model, status, retention)
    local now = now_ms()
    local kept_s = retention.retention_s
    withdraw(id, model)
    count(model, status)
    redis.call('HSET', job_key(id), 'status', status,
        'completed_at_ms', whole(now), 'expires_at_ms', whole(now + kept_s * 1000))
    redis.call('EXPIRE', job_key(id), kept_s)
    redis.call('EXPIRE', result_key(id), kept_s)
    remove_image(id, status == 'succeeded' and math.min(retention.image_retention_s, kept_s) or 0)
    redis.call('SET', tombstone_key(id), status, 'EX', kept_s + retention.tombstone_s)
    create_delivery(id, job_key(id), now, kept_s)
    count_in_batch(id, status, kept_s)
    redis.call('PUBLISH', CHANGES, id)
end

-- queued | processing -> canceled. The fence token of a worker that runs the job becomes stale, and the worker is notified.
local function cancel_job(id, model, retention)
    redis.call('HINCRBY', job_key(id), 'fence', 1)
    end_job(id, model, 'canceled', retention)
    redis.call('PUBLISH', CANCELED, id)
end
