-- Put in front of every move, behind the names of `keys.py`. Time is the server's own: other clocks differ.

local function now_us()
    local time = redis.call('TIME')
    return time[1] * 1000000 + time[2]
end

local function now_ms()
    return math.floor(now_us() / 1000)
end

local function whole(number)
    return string.format('%.0f', number) -- Lua would write 1.7e+15
end

local function exact(number)
    return string.format('%.17g', number)
end

-- Somebody says that it lives. Who has been silent for longer than `liveness_window_s` is forgotten.
local function record_heartbeat(set, name, liveness_window_s)
    local now = now_ms()
    redis.call('ZADD', set, whole(now), name)
    redis.call('ZREMRANGEBYSCORE', set, '-inf', whole(now - liveness_window_s * 1000))
    redis.call('EXPIRE', set, math.ceil(liveness_window_s))
end

-- Whether the job is in the hands of the worker that was given this fence token.
local function is_claimed_by(id, fence)
    local job = redis.call('HMGET', job_key(id), 'status', 'fence')
    return job[1] == 'processing' and job[2] == fence
end

-- Where service is now, on the scale of places.
local function service_place(model)
    return tonumber(redis.call('HGET', flows_key(model), 'now') or 0)
end

-- A job as it is, and what one needs to say when to come back.
-- Returns {its record, jobs ahead of it or nothing, its result as JSON or nothing, jobs of its model in the hands of
--          workers, milliseconds one of those takes or nothing, milliseconds since it was given to a worker or nothing};
--         or 'expired', or nothing if there never was such a job.
local function job_state(id)
    local record = redis.call('HGETALL', job_key(id))
    if #record == 0 then
        return redis.call('EXISTS', tombstone_key(id)) == 1 and 'expired'
    end
    local job = redis.call('HMGET', job_key(id), 'status', 'model', 'quarantined', 'started_at_ms')
    local status, model = job[1], job[2]
    local ahead, result, running_ms = false, false, false
    if status == 'queued' then
        ahead = redis.call('ZRANK', job[3] == '1' and quarantine_key(model) or ready_key(model), id)
    elseif status == 'processing' then
        running_ms = now_ms() - job[4]
    elseif status == 'succeeded' then
        result = redis.call('GET', result_key(id))
        if not result then
            return 'expired' -- a moment before its record
        end
    end
    return {record, ahead, result, redis.call('ZCARD', running_key(model)), redis.call('GET', mean_duration_key(model)),
        running_ms}
end

-- Among which jobs of its priority this one waits. A request leaves out what is as usual.
local function waiting_of(id, model)
    return waiting_key(model, cjson.decode(redis.call('HGET', job_key(id), 'request')).priority or 'normal')
end

local function count(model, what, times)
    redis.call('HINCRBY', counts_key(model), what, times or 1)
end

-- A job that was taken waits again, at the front; apart if it is quarantined of having cost a worker its life.
local function requeue(id, model)
    local job = redis.call('HMGET', job_key(id), 'place', 'quarantined', 'created_at_ms')
    local queue = job[2] == '1' and quarantine_key(model) or ready_key(model)
    redis.call('ZREM', running_key(model), id)
    redis.call('HSET', job_key(id), 'status', 'queued')
    redis.call('ZADD', queue, math.min(tonumber(job[1]), service_place(model)), id)
    redis.call('ZADD', waiting_of(id, model), job[3], id)
    redis.call('PUBLISH', CHANGES, id)
end

-- The job is in no queue and in nobody's hands.
local function withdraw(id, model)
    redis.call('ZREM', ready_key(model), id)
    redis.call('ZREM', quarantine_key(model), id)
    redis.call('ZREM', waiting_of(id, model), id)
    redis.call('ZREM', running_key(model), id)
    redis.call('ZREM', DEADLINES, id)
end

-- A host comes up when the first of its deliveries does.
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

-- A job with a webhook has ended: that is to be delivered, from now on and for as long as the job is kept.
local function announce_end(id, now, keep_s)
    local host = redis.call('HGET', job_key(id), 'webhook_host')
    if host then
        redis.call('HSET', delivery_key(id), 'state', 'pending', 'host', host, 'fence', 0, 'tries', 0)
        redis.call('EXPIRE', delivery_key(id), keep_s)
        schedule_delivery(id, host, now)
    end
end

-- A worker has done a job: how long jobs of this model take lately is a moving average over about eight.
local function record_duration(id, model)
    local took = now_ms() - redis.call('HGET', job_key(id), 'started_at_ms')
    local pace = tonumber(redis.call('GET', mean_duration_key(model)) or took)
    redis.call('SET', mean_duration_key(model), exact(pace + (took - pace) / 8))
end

-- `keep` holds how many seconds to keep the job, its image, and its tombstone after that.
local function end_job(id, model, status, keep)
    local now = now_ms()
    withdraw(id, model)
    count(model, status)
    redis.call('HSET', job_key(id), 'status', status,
        'completed_at_ms', whole(now), 'expires_at_ms', whole(now + keep[1] * 1000))
    redis.call('EXPIRE', job_key(id), keep[1])
    redis.call('EXPIRE', result_key(id), keep[1])
    redis.call('EXPIRE', image_key(id), math.min(keep[2], keep[1]))
    redis.call('SET', tombstone_key(id), status, 'EX', keep[1] + keep[3])
    announce_end(id, now, keep[1])
    redis.call('PUBLISH', CHANGES, id)
end

-- A worker that holds the job loses it: its fence token is stale from here on, and it is told to stop.
local function cancel_job(id, model, keep)
    redis.call('HINCRBY', job_key(id), 'fence', 1)
    end_job(id, model, 'canceled', keep)
    redis.call('PUBLISH', CANCELED, id)
end

local function numbers(from)
    return {tonumber(ARGV[from]), tonumber(ARGV[from + 1]), tonumber(ARGV[from + 2])}
end
