-- Functions for all scripts. `key_names.py` is put in front of them. Times are those of the server's clock.

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

-- Whether `fence` is the present fence token of a job that a worker has claimed.
local function is_claimed_with(id, fence)
    local job = redis.call('HMGET', job_key(id), 'status', 'fence')
    return job[1] == 'processing' and tonumber(job[2]) == tonumber(fence)
end

-- The virtual time of the fair queue: the start tag that service has reached.
local function virtual_time(model)
    return tonumber(redis.call('HGET', flows_key(model), 'virtual_time') or 0)
end

-- The state of a job, and what an estimate of its end needs. Returns `outcome`:
--   'missing': there never was such a job.
--   'expired': it ended, and its retention is over.
--   'deleted': its owner has deleted it.
--   'found', and with it
--     record              fields and values of the job's hash
--     jobs_ahead          jobs before it in the queue, if it is queued
--     result              as JSON, if it has succeeded
--     running             number of running jobs of its model
--     mean_duration_ms    of jobs of its model, as text; absent before the first has ended
--     running_ms          milliseconds since it was claimed, if it is running
local function job_state(id)
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
        state.result = redis.call('GET', result_key(id))
        if not state.result then
            return {outcome = 'expired'} -- the result expires a moment before the record
        end
    end
    return state
end

-- The priority in a request as JSON. Requests are stored without their defaults.
local function priority_of(request)
    return cjson.decode(request).priority or 'normal'
end

-- The key of the queued jobs that have this job's priority.
local function waiting_key_of(id, model)
    return waiting_key(model, priority_of(redis.call('HGET', job_key(id), 'request')))
end

local function count(model, event, times)
    redis.call('HINCRBY', counts_key(model), event, times or 1)
end

-- processing -> queued: the job goes to the front of its queue, or into quarantine if it is quarantined.
local function requeue(id, model)
    local job = redis.call('HMGET', job_key(id), 'start_tag', 'quarantined', 'created_at_ms')
    local queue = job[2] == '1' and quarantine_key(model) or ready_key(model)
    redis.call('ZREM', running_key(model), id)
    redis.call('HSET', job_key(id), 'status', 'queued')
    redis.call('ZADD', queue, math.min(tonumber(job[1]), virtual_time(model)), id)
    redis.call('ZADD', waiting_key_of(id, model), job[3], id)
    redis.call('PUBLISH', CHANGES, id)
end

-- Removes the job from every queue and from the running jobs.
local function withdraw(id, model)
    redis.call('ZREM', ready_key(model), id)
    redis.call('ZREM', quarantine_key(model), id)
    redis.call('ZREM', waiting_key_of(id, model), id)
    redis.call('ZREM', running_key(model), id)
    redis.call('ZREM', DEADLINES, id)
end

-- A host is due when the first of its deliveries is.
local function refresh_host(host)
    local first = redis.call('ZRANGE', deliveries_key(host), 0, 0, 'WITHSCORES')
    if first[1] then
        redis.call('ZADD', DELIVERY_HOSTS, first[2], host)
    else
        redis.call('ZREM', DELIVERY_HOSTS, host)
    end
end

local function schedule_delivery(id, host, due_ms)
    redis.call('ZADD', deliveries_key(host), whole(due_ms), id)
    refresh_host(host)
end

local function unschedule_delivery(id, host)
    redis.call('ZREM', deliveries_key(host), id)
    refresh_host(host)
end

-- Writes the delivery of an ended job that has a webhook. It is due at once and expires with the job.
local function create_delivery(id, now, retention_s)
    local host = redis.call('HGET', job_key(id), 'webhook_host')
    if host then
        redis.call('HSET', delivery_key(id), 'state', 'pending', 'host', host, 'fence', 0, 'attempts', 0)
        redis.call('EXPIRE', delivery_key(id), retention_s)
        schedule_delivery(id, host, now)
    end
end

-- Updates the mean duration of a model's jobs, a moving average over about eight, when a worker finishes one.
local function record_duration(id, model)
    local duration = now_ms() - redis.call('HGET', job_key(id), 'started_at_ms')
    local mean = tonumber(redis.call('GET', mean_duration_key(model)) or duration)
    redis.call('SET', mean_duration_key(model), exact(mean + (duration - mean) / 8))
end

-- queued | processing -> `status`. `retention` has retention_s, image_retention_s and tombstone_s.
local function end_job(id, model, status, retention)
    local now = now_ms()
    local kept_s = retention.retention_s
    withdraw(id, model)
    count(model, status)
    redis.call('HSET', job_key(id), 'status', status,
        'completed_at_ms', whole(now), 'expires_at_ms', whole(now + kept_s * 1000))
    redis.call('EXPIRE', job_key(id), kept_s)
    redis.call('EXPIRE', result_key(id), kept_s)
    redis.call('EXPIRE', image_key(id), math.min(retention.image_retention_s, kept_s))
    redis.call('SET', tombstone_key(id), status, 'EX', kept_s + retention.tombstone_s)
    create_delivery(id, now, kept_s)
    redis.call('PUBLISH', CHANGES, id)
end

-- queued | processing -> canceled. The fence token of a worker that runs the job becomes stale, and the worker is notified.
local function cancel_job(id, model, retention)
    redis.call('HINCRBY', job_key(id), 'fence', 1)
    end_job(id, model, 'canceled', retention)
    redis.call('PUBLISH', CANCELED, id)
end
