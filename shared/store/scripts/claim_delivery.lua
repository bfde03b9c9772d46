-- A deliverer claims a delivery that is due, under a new fence token and a lease.
---@param lease_ms number  length of the lease
---@param nonce string  chosen at random for this call: part of the fence token
---@param hosts_count number  how many of `full` are hosts
---@param full string[]  hosts to which the deliverer cannot send more now, then clients that have their share of it
-- Returns nothing if no delivery is due of another client to another host; else
--   id         of the job or of the batch
--   is_batch   whether it is a batch
--   record     fields and values of its hash
--   token      the fence token
--   attempts   attempts made before
--   now_ms     time of the claim
--
-- A claimed delivery stays in its lane, at the end of its lease: if no attempt is recorded by then, it is due again.

local MAX_EXPIRED = 100 -- removed by one call
local MAX_BLOCKED = 100 -- clients all of whose due deliveries are to full hosts
local now = now_ms()
local is_full_host, is_full_client = {}, {}
for index, name in ipairs(args.full) do
    local full = index <= args.hosts_count and is_full_host or is_full_client
    full[name] = true
end

local function due(key, limit)
    return redis.call('ZRANGEBYSCORE', key, '-inf', whole(now), 'LIMIT', 0, limit)
end

-- Takes over the deliveries of an older version: they are those of a client without a name.
local function adopt_old_deliveries()
    if redis.call('EXISTS', OLD_DELIVERY_HOSTS) == 1 then
        local hosts = delivery_hosts_key('')
        redis.call('ZUNIONSTORE', hosts, 2, hosts, OLD_DELIVERY_HOSTS, 'AGGREGATE', 'MIN')
        redis.call('DEL', OLD_DELIVERY_HOSTS)
        index_first(DELIVERY_CLIENTS, '', hosts)
    end
end

local function first_due(client, host)
    local lane = deliveries_key(lane_of(client, host))
    for _, id in ipairs(due(lane, MAX_EXPIRED)) do
        if redis.call('EXISTS', record_key(id), delivery_key(id)) == 2 then
            return id
        end
        redis.call('ZREM', lane, id)
    end
    refresh_lane(client, host)
end

-- One host more than there are full hosts: so at least one of them is not full, if there is any such host.
local function first_due_of(client)
    for _, host in ipairs(due(delivery_hosts_key(client), args.hosts_count + 1)) do
        local id = not is_full_host[host] and first_due(client, host)
        if id then
            return id, host
        end
    end
end

adopt_old_deliveries()
for _, client in ipairs(due(DELIVERY_CLIENTS, #args.full + MAX_BLOCKED)) do
    if not is_full_client[client] then
        local id, host = first_due_of(client)
        if id then
            schedule_delivery(id, client, host, now + args.lease_ms)
            local token = token_of(redis.call('HINCRBY', delivery_key(id), 'fence', 1), args.nonce)
            redis.call('HSET', delivery_key(id), 'token', token)
            local attempts = tonumber(redis.call('HGET', delivery_key(id), 'attempts'))
            local record = record_key(id)
            return {id = id, is_batch = record == batch_key(id), record = redis.call('HGETALL', record), token = token,
                attempts = attempts, now_ms = now}
        end
        redis.call('ZADD', DELIVERY_CLIENTS, 'XX', 'GT', whole(now), client) -- the next call looks at others first
    end
end
