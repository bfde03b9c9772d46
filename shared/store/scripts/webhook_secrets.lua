-- Returns the secrets that sign an owner's webhooks. The first is made when it is first requested.
---@param owner string
---@param fresh_secret string  the next secret, if one is needed
---@param action string  show: change nothing. rotate: add the fresh secret; the present one signs too for `rotation_s`.
--                replace: the fresh secret signs alone.
---@param rotation_s number
-- Returns `secrets`, newest first.

local MAX_KEPT = 8
local secrets, now = webhook_secrets_key(args.owner), now_ms()
if args.action == 'replace' then
    redis.call('DEL', secrets)
end
if args.action == 'rotate' or redis.call('EXISTS', secrets) == 0 then
    local newest = redis.call('ZREVRANGE', secrets, 0, 0, 'WITHSCORES')[2] or 0
    redis.call('ZADD', secrets, whole(math.max(now, newest + 1)), args.fresh_secret)
    redis.call('ZREMRANGEBYRANK', secrets, 0, -MAX_KEPT - 1)
end

local kept = redis.call('ZREVRANGE', secrets, 0, -1, 'WITHSCORES')
local signing = {kept[1]}
for index = 3, #kept, 2 do
    local replaced_at = kept[index - 1] -- when the next newer secret was made
    if now < replaced_at + args.rotation_s * 1000 then
        signing[#signing + 1] = kept[index]
    end
end
return {secrets = signing}
