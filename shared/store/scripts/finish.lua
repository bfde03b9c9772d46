-- processing -> succeeded | failed: only for the holder of the present fence token.
-- ARGV  id, model, fence, new status, result as JSON or '', error as JSON or '', metrics as JSON,
--       seconds to keep the job, its image, and its tombstone after that, seconds to keep a result in the cache
-- Returns 1, or 0 if the job is not the caller's to finish: canceled, given to another worker, or ended.

local id = ARGV[1]
if not is_claimed_by(id, ARGV[3]) then
    return 0
end
if ARGV[5] ~= '' then
    redis.call('SET', result_key(id), ARGV[5])
    local content = redis.call('HGET', job_key(id), 'content')
    if content then
        redis.call('SET', cached_key(content), id, 'EX', math.min(tonumber(ARGV[11]), tonumber(ARGV[8])))
    end
end
if ARGV[6] ~= '' then
    redis.call('HSET', job_key(id), 'error', ARGV[6])
end
redis.call('HSET', job_key(id), 'metrics', ARGV[7])
record_duration(id, ARGV[2])
end_job(id, ARGV[2], ARGV[4], numbers(8))
return 1
