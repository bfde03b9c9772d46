-- processing -> succeeded | failed: only for the holder of the present fence token.
-- KEYS  job, image, result, tombstone
-- ARGV  id, fence, new status, result as JSON or '', error as JSON or '', metrics as JSON, channel of changes,
--       seconds to keep the job, its image, and its tombstone after that
-- Returns 1, or 0 if the job is not the caller's to finish: canceled, claimed again, or ended.

if redis.call('HGET', KEYS[1], 'status') ~= 'processing' or redis.call('HGET', KEYS[1], 'fence') ~= ARGV[2] then
    return 0
end
if ARGV[4] ~= '' then
    redis.call('SET', KEYS[3], ARGV[4])
end
if ARGV[5] ~= '' then
    redis.call('HSET', KEYS[1], 'error', ARGV[5])
end
redis.call('HSET', KEYS[1], 'metrics', ARGV[6])
end_job(ARGV[1], ARGV[3], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]))
return 1
