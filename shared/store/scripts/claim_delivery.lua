-- A deliverer claims a delivery that is due, under a new fence token and a lease.
---@param lease_ms number  length of the lease
---@param full_hosts string[]  hosts to which the deliverer cannot send more now
-- Returns nothing if no delivery is due to another host; else
--   record     fields and values of the job's hash
--   fence      the fence token
--   attempts   attempts made before
--   now_ms     time of the claim
--
-- A claimed delivery stays in the set of its host, at the end of its lease: if no attempt is recorded by then, it is due
-- again.

local MAX_EXPIRED = 100 -- removed by one call
local now = now_ms()
local is_full = {}
for _, host in ipairs(args.full_hosts) do
    is_full[host] = true
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

-- One host more than there are full hosts: so at least one of them is not full, if there is any such host.
local hosts = redis.call('ZRANGEBYSCORE', DELIVERY_HOSTS, '-inf', whole(now), 'LIMIT', 0, #args.full_hosts + 1)
for _, host in ipairs(hosts) do
    local id = not is_full[host] and first_due(host)
    if id then
        schedule_delivery(id, host, now + args.lease_ms)
        local fence = redis.call('HINCRBY', delivery_key(id), 'fence', 1)
        local attempts = tonumber(redis.call('HGET', delivery_key(id), 'attempts'))
        return {record = redis.call('HGETALL', job_key(id)), fence = fence, attempts = attempts, now_ms = now}
    end
end
