-- Finds an API key and charges it for one request. Each kind of request has an allowance of its own.
---@param secret_sha256 string  SHA-256 of the key's secret in hex
---@param kind string  of the request
---@param times number  how many times the key's rate, and its burst, this kind may use
---@param cost number  what the request costs; 0 only looks
-- Returns nothing if there is no such key; else
--   record             the key's record as JSON
--   is_within_rate     whether this request is
--   remaining          requests of cost 1 that may be sent at once after this one
--   retry_after_ms     until a request of this cost may be sent; 0 if this one is within the rate
--   refilled_after_ms  until the whole burst may be sent again
--
-- The generic cell rate algorithm (ITU-T I.371): each request costs `interval`, and a key may be ahead of the clock by
-- its burst. The only state is the moment until which the key has used up its rate.

local record = redis.call('HGET', API_KEYS, args.secret_sha256)
if not record then
    return
end
local key = cjson.decode(record)
local interval = 60e6 / (key.per_minute * args.times)
local allowance = interval * key.burst * args.times
local rate = rate_key(key.id, args.kind)
local cost = interval * args.cost
local now = now_us()
local known_until = tonumber(redis.call('GET', rate) or 0)
-- At most a whole burst ahead, which is more only if the clock of this server is behind that of an earlier primary.
local used_until = math.max(now, math.min(now + allowance, known_until))
local wait = used_until + cost - allowance - now
if wait <= 0 then
    used_until = used_until + cost
end
if wait <= 0 and cost > 0 or used_until < known_until then
    -- At millions of requests per second the difference is rounded to nothing.
    redis.call('SET', rate, whole(used_until), 'PX', math.max(1, math.ceil((used_until - now) / 1000)))
end
return {
    record = record,
    is_within_rate = wait <= 0,
    remaining = math.max(0, math.floor((now + allowance - used_until) / interval + 1e-6)),
    retry_after_ms = math.ceil(math.max(0, wait) / 1000),
    refilled_after_ms = math.ceil((used_until - now) / 1000),
}
