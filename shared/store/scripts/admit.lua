-- A caller shows an API key: whose is it, and may it send a request now?
-- ARGV  SHA-256 of the key
-- Returns nothing if there is no such key; else {its record as JSON, 1 if it may, requests it may send at once after
--       this one, milliseconds until it may send one, milliseconds until it may send its whole burst again}
--
-- The generic cell rate algorithm (ITU-T I.371): a key is charged `interval` for each request, and may be ahead of the
-- clock by its burst. All it takes to remember is the moment at which the key has paid for everything.

local record = redis.call('HGET', API_KEYS, ARGV[1])
if not record then
    return false
end
local key = cjson.decode(record)
local interval = 60e6 / key.per_minute
local allowance = interval * key.burst
local now = now_us()
local paid_at = math.max(now, tonumber(redis.call('GET', rate_key(key.id)) or 0))
local wait = paid_at + interval - allowance - now
if wait <= 0 then
    paid_at = paid_at + interval
    redis.call('SET', rate_key(key.id), whole(paid_at), 'PX', math.ceil((paid_at - now) / 1000))
end
return {record, wait <= 0 and 1 or 0, math.max(0, math.floor((now + allowance - paid_at) / interval + 1e-6)),
    math.ceil(math.max(0, wait) / 1000), math.ceil((paid_at - now) / 1000)}
