-- Finds an API key and charges it for one request.
---@param secret_sha256 string  SHA-256 of the key's secret in hex
-- Returns nothing if there is no such key; else
--   record             the key's record as JSON
--   is_within_rate     whether this request is
--   remaining          requests that may be sent at once after this one
--   retry_after_ms     until the next request may be sent; 0 if this one is within the rate
--   refilled_after_ms  until the whole burst may be sent again
--
-- The generic cell rate algorithm (ITU-T I.371): each request costs `interval`, and a key may be ahead of the clock by
-- its burst. The only state is the moment until which the key has used up its rate.

local record = redis.call('HGET', API_KEYS, args.secret_sha256)
if not record then
    return
end
local key = cjson.decode(record)
local interval = 60e6 / key.per_minute
local allowance = interval * key.burst
local now = now_us()
local used_until = math.max(now, tonumber(redis.call('GET', rate_key(key.id)) or 0))
local wait = used_until + interval - allowance - now
if wait <= 0 then
    used_until = used_until + interval
    redis.call('SET', rate_key(key.id), whole(used_until), 'PX', math.ceil((used_until - now) / 1000))
end
return {
    record = record,
    is_within_rate = wait <= 0,
    remaining = math.max(0, math.floor((now + allowance - used_until) / interval + 1e-6)),
    retry_after_ms = math.ceil(math.max(0, wait) / 1000),
    refilled_after_ms = math.ceil((used_until - now) / 1000),
}
