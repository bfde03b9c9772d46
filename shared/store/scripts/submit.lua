-- (nothing) -> queued: the record, the image, the place in the order of service and the idempotency key, in one step.
-- (nothing) -> succeeded: if the result cache knows the answer.
-- ARGV  id, request as JSON, image bytes or '' if it is kept elsewhere, model, owner, flow, weight of the flow,
--       seconds until the deadline or '', most jobs that may wait, idempotency key or '', fingerprint of the request,
--       seconds to keep the key, what is asked for the result cache or '', seconds to keep a job, its image, its tombstone,
--       webhook as JSON or '', host of the webhook
-- Returns {'accepted', id, what `job_state` says}: of another job if the idempotency key was used before;
--         {'mismatch', id} if it was used for another request; {'full', jobs waiting}.
-- Submitting the same id again changes nothing.

local id, model, owner, flow, weight = ARGV[1], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])

if redis.call('EXISTS', job_key(id)) == 1 then
    return {'accepted', id, job_state(id)}
end
if ARGV[10] ~= '' then
    local used = redis.call('GET', idempotency_key(owner, ARGV[10]))
    if used then
        local used_id, fingerprint = used:match('^(%S+) (%S+)$')
        if fingerprint ~= ARGV[11] then
            return {'mismatch', used_id}
        end
        return {'accepted', used_id, job_state(used_id)}
    end
end
local waiting = redis.call('ZCARD', ready_key(model))
if waiting >= tonumber(ARGV[9]) then
    return {'full', tostring(waiting)}
end

-- Start-time fair queueing: a job's place is where its flow has got to, or where service is now, whichever is later;
-- its flow then moves on by the job's cost, 1, over the flow's weight.
local place = math.max(service_place(model), tonumber(redis.call('HGET', flows_key(model), flow) or 0))
redis.call('HSET', flows_key(model), flow, exact(place + 1 / weight))

local now = now_ms()
redis.call('HSET', job_key(id), 'id', id, 'status', 'queued', 'request', ARGV[2], 'model', model, 'owner', owner,
    'created_at_ms', whole(now), 'place', exact(place))
redis.call('ZADD', waiting_of(id, model), whole(now), id)
count(model, 'accepted')
if ARGV[17] ~= '' then
    redis.call('HSET', job_key(id), 'webhook', ARGV[17], 'webhook_host', ARGV[18])
end
if ARGV[3] ~= '' then
    redis.call('SET', image_key(id), ARGV[3])
end
redis.call('ZADD', ready_key(model), exact(place), id)
if ARGV[8] ~= '' then
    local deadline = whole(now + ARGV[8] * 1000)
    redis.call('HSET', job_key(id), 'deadline_at_ms', deadline)
    redis.call('ZADD', DEADLINES, deadline, id)
end
if ARGV[10] ~= '' then
    redis.call('SET', idempotency_key(owner, ARGV[10]), id .. ' ' .. ARGV[11], 'EX', ARGV[12])
end

-- The owner's list grows by one and loses up to two that have expired, so that it never holds many of those.
for _, oldest in ipairs(redis.call('ZRANGE', owned_key(owner), 0, 1)) do
    if redis.call('EXISTS', job_key(oldest)) == 0 then
        redis.call('ZREM', owned_key(owner), oldest)
    end
end
redis.call('ZADD', owned_key(owner), whole(now), id)

if ARGV[13] ~= '' then
    local twin = redis.call('GET', cached_key(ARGV[13]))
    if twin and redis.call('COPY', result_key(twin), result_key(id)) == 1 then
        redis.call('HSET', job_key(id), 'cached', '1', 'started_at_ms', whole(now))
        count(model, 'cached')
        end_job(id, model, 'succeeded', numbers(14))
    else
        redis.call('HSET', job_key(id), 'content', ARGV[13]) -- for the cache, when this job has a result
    end
end
return {'accepted', id, job_state(id)}
