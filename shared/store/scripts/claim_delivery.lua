-- A delivery that is due goes to the caller, under a new fence token and a lease.
-- ARGV  milliseconds of the lease, then the hosts to which the caller sends as much as it may
-- Returns {fence, tries so far, now in milliseconds, the job's record}, or nothing if there is none for the caller.
--
-- A delivery in hand stays in its place, only later: if nobody has recorded by the end of the lease how it went, it is due.

local MAX_EXPIRED = 100 -- removed in one go
local now = now_ms()
local is_full = {}
for index = 2, #ARGV do
    is_full[ARGV[index]] = true
end

local function first_due(host)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', deliveries_key(host), '-inf', whole(now), 'LIMIT', 0, MAX_EXPIRED)) do
        if redis.call('EXISTS', job_key(id), delivery_key(id)) == 2 then
            return id
        end
        redis.call('ZREM', deliveries_key(host), id)
    end
    refresh_host(host)
end

-- Among one host more than are full there is one that is not, if there is any.
for _, host in ipairs(redis.call('ZRANGEBYSCORE', DELIVERY_HOSTS, '-inf', whole(now), 'LIMIT', 0, #ARGV)) do
    local id = not is_full[host] and first_due(host)
    if id then
        schedule_delivery(id, host, now + ARGV[1])
        local fence = redis.call('HINCRBY', delivery_key(id), 'fence', 1)
        local tries = redis.call('HGET', delivery_key(id), 'tries')
        return {fence, tonumber(tries), now, redis.call('HGETALL', job_key(id))}
    end
end
return false
