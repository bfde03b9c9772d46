-- Lists an owner's jobs, newest first, and removes those from the list that have expired.
---@param owner string
---@param before_ms? number  with `before_id`: only jobs that were accepted before, or in the same millisecond
---@param before_id? string  and whose id is lower
---@param limit number  most jobs in the answer
---@param max_seen number  most jobs to look at; if many have expired or do not match, the answer may be short, and there
--   may be more
---@param ref? string  only jobs with this reference
---@param statuses string[]  only jobs in one of these states; none: in any
-- Returns `records`, the fields and values of each job's hash, and if there may be more, `last_ms` and `last_id` of the
-- last job that it looked at.

local wanted = {}
for _, status in ipairs(args.statuses) do
    wanted[status] = true
end

-- Whether the job `id` matches; nil if it has expired.
local function matches(id)
    local job = redis.call('HMGET', job_key(id), 'status', 'request')
    if not job[1] then
        return
    end
    return (#args.statuses == 0 or wanted[job[1]] == true)
        and (not args.ref or cjson.decode(job[2]).ref == args.ref)
end

local owned = owned_key(args.owner)
local rank = args.before_id and redis.call('ZCOUNT', owned, '(' .. whole(args.before_ms), '+inf') or 0
local found = {records = {}}
local seen = 0
while #found.records < args.limit and seen < args.max_seen do
    local entry = redis.call('ZREVRANGE', owned, rank, rank, 'WITHSCORES')
    local id, ms = entry[1], tonumber(entry[2])
    if not id then
        return {records = found.records}
    end
    if args.before_id and ms == args.before_ms and id >= args.before_id then
        rank = rank + 1
    else
        seen = seen + 1
        found.last_ms, found.last_id = whole(ms), id
        local is_match = matches(id)
        if is_match == nil then
            redis.call('ZREM', owned, id)
        else
            rank = rank + 1
        end
        if is_match then
            table.insert(found.records, redis.call('HGETALL', job_key(id)))
        end
    end
end
if redis.call('ZCARD', owned) <= rank then
    return {records = found.records}
end
return found
