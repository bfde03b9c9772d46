-- The secrets that sign an owner's webhooks. The first is made when it is first asked for.
-- ARGV  owner, a fresh secret, 'show' | 'rotate': the fresh one takes over, the present one signs along for a while |
--       'replace': it signs no more; seconds of that while
-- Returns the secrets that sign, newest first.

local MAX_KEPT = 8
local secrets, now = webhook_secrets_key(ARGV[1]), now_ms()
if ARGV[3] == 'replace' then
    redis.call('DEL', secrets)
end
if ARGV[3] == 'rotate' or redis.call('EXISTS', secrets) == 0 then
    local newest = redis.call('ZREVRANGE', secrets, 0, 0, 'WITHSCORES')[2] or 0
    redis.call('ZADD', secrets, whole(math.max(now, newest + 1)), ARGV[2])
    redis.call('ZREMRANGEBYRANK', secrets, 0, -MAX_KEPT - 1)
end

local kept = redis.call('ZREVRANGE', secrets, 0, -1, 'WITHSCORES')
local signing = {kept[1]}
for index = 3, #kept, 2 do
    local replaced_at = kept[index - 1] -- when the one before it in the list was made
    if now < replaced_at + ARGV[4] * 1000 then
        signing[#signing + 1] = kept[index]
    end
end
return signing
