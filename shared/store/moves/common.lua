-- Put in front of every move. Time is the server's own: the clocks of clients and workers differ.

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

-- KEYS of a move that ends a job: job, image, result, tombstone. Retention is three numbers of seconds.
local function end_job(id, status, channel, job_s, image_s, tombstone_s)
    local now = now_ms()
    redis.call('HSET', KEYS[1], 'status', status,
        'completed_at_ms', whole(now), 'expires_at_ms', whole(now + job_s * 1000))
    redis.call('EXPIRE', KEYS[1], job_s)
    redis.call('EXPIRE', KEYS[2], math.min(image_s, job_s))
    redis.call('EXPIRE', KEYS[3], job_s)
    redis.call('SET', KEYS[4], status, 'EX', job_s + tombstone_s)
    redis.call('PUBLISH', channel, id)
end
