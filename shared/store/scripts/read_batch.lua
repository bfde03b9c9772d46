-- Reads a batch: whose it is, and the state of each job. Changes nothing. A batch has a bounded number of jobs.
---@param id string
-- Returns nothing if there is no such batch; else
--   owner     of the batch
--   jobs      ids of its jobs, by the index of their images
--   indexes   those indexes
--   statuses  of these jobs; `expired` or `deleted` for one whose record is gone

local owner = redis.call('HGET', batch_key(args.id), 'owner')
if not owner then
    return
end
local found = {owner = owner, jobs = {}, indexes = {}, statuses = {}}
local entries = redis.call('ZRANGE', batch_jobs_key(args.id), 0, -1, 'WITHSCORES')
for position = 1, #entries, 2 do
    local id = entries[position]
    local status = redis.call('HGET', job_key(id), 'status')
    if not status then
        status = redis.call('GET', tombstone_key(id)) == 'deleted' and 'deleted' or 'expired'
    end
    table.insert(found.jobs, id)
    table.insert(found.indexes, tonumber(entries[position + 1]))
    table.insert(found.statuses, status)
end
return found
