-- Reads a batch and the state of each of its jobs. Changes nothing. A batch has a bounded number of jobs.
---@param id string
-- Returns nothing if there is no such batch; else
--   record    fields and values of its hash
--   indexes   of the images that became jobs, in no order
--   parts     id and fingerprint of each of these jobs
--   statuses  of these jobs; `expired` or `deleted` for one whose record is gone
--   versions  of these jobs: two different results of a job never have the same

local record = redis.call('HGETALL', batch_key(args.id))
if #record == 0 then
    return
end
local found = {record = record, indexes = {}, parts = {}, statuses = {}, versions = {}}
local entries = redis.call('HGETALL', batch_jobs_key(args.id))
for position = 1, #entries, 2 do
    local id = entries[position + 1]:match('^%S+')
    local job = redis.call('HMGET', job_key(id), 'status', 'token', 'completed_at_ms')
    local status = job[1]
    if not status then
        status = redis.call('GET', tombstone_key(id)) == 'deleted' and 'deleted' or 'expired'
    end
    table.insert(found.indexes, tonumber(entries[position]))
    table.insert(found.parts, entries[position + 1])
    table.insert(found.statuses, status)
    table.insert(found.versions, (job[2] or '') .. '-' .. (job[3] or ''))
end
return found
