-- queued -> processing: a worker claims the next jobs, each under a new fence token and a lease.
---@param model string
---@param lease_ms number  length of the lease
---@param worker? string  the worker's id, if others can see that its process has ended
---@param nonce string  chosen at random for this call and its repetitions: part of its fence tokens
---@param is_repeated boolean  whether this call had no answer before. If it claimed jobs then, only these are returned
---@param is_idle boolean  whether the worker has no other job in flight
---@param max_jobs number  most jobs to claim
---@param full_clients string[]  clients that have their share of the worker's jobs in flight
-- Returns `records`: fields and values of each job's hash; `images`: the image of each, empty if it is kept elsewhere; and
-- `waiting`: the number of jobs that still wait.
--
-- Quarantined jobs come first, and only an idle worker may claim one, and nothing else with it. While one waits, no worker
-- claims other jobs, so that a worker becomes idle soon.

local model = args.model
local records, images = {}, {}
local is_full = {}
for _, client in ipairs(args.full_clients) do
    is_full[client] = true
end

-- Gives a job a later start tag if its flow was charged since it got that. Returns whether it did.
local function postpone_if_charged(id)
    local job = redis.call('HMGET', job_key(id), 'flow', 'charged')
    local charge = charge_of(model, job[1])
    local delay = charge - tonumber(job[2] or 0)
    if delay > 0 then
        redis.call('ZINCRBY', ready_key(model), exact(delay), id)
        redis.call('HSET', job_key(id), 'charged', exact(charge))
    end
    return delay > 0
end

-- The job with the lowest start tag. A charge postpones a job only once it has come to the front, so that a charge costs
-- the same for any number of jobs that wait. Nothing if so many are postponed that the next call must go on.
local function first_ready()
    local MAX_POSTPONED = 1000
    local are_charged = redis.call('EXISTS', charges_key(model)) == 1
    for _ = 1, MAX_POSTPONED do
        local first = redis.call('ZRANGE', ready_key(model), 0, 0, 'WITHSCORES')
        if not (are_charged and first[1] and postpone_if_charged(first[1])) then
            return first[1], first[2]
        end
    end
end

-- The first of the next jobs whose client is not full. If all are, the very first, and no other with it: no worker is idle
-- while jobs wait.
local function next_ready()
    local MAX_SEEN = 32
    local id, start_tag = first_ready()
    if id and #args.full_clients > 0 and redis.call('HLEN', waiting_clients_key(model)) > 1 then
        local next_jobs = redis.call('ZRANGE', ready_key(model), 0, MAX_SEEN - 1, 'WITHSCORES')
        for index = 1, #next_jobs, 2 do
            if not is_full[client_of(redis.call('HGET', job_key(next_jobs[index]), 'flow'))] then
                return next_jobs[index], next_jobs[index + 1]
            end
        end
        if #records > 0 then
            return
        end
    end
    return id, start_tag
end

-- The next job that this worker may claim, which waits no longer.
local function take_next()
    local id, start_tag = next_ready()
    if id then
        redis.call('ZREM', ready_key(model), id)
        if redis.call('ZCARD', ready_key(model)) == 0 then
            redis.call('DEL', flows_key(model), charges_key(model)) -- no job waits: all flows are equal again
        else
            redis.call('HSET', flows_key(model), 'virtual_time',
                exact(math.max(virtual_time(model), tonumber(start_tag))))
        end
    end
    return id
end

local function lease_and_add(id)
    redis.call('ZADD', running_key(model), whole(now_ms() + args.lease_ms), id)
    records[#records + 1] = redis.call('HGETALL', job_key(id))
    images[#images + 1] = redis.call('GET', image_key(id)) or ''
end

-- Lease the jobs that this call claimed when it had no answer.
local function repeat_answer()
    for _, id in ipairs(redis.call('ZRANGE', running_key(model), 0, -1)) do
        local job = redis.call('HMGET', job_key(id), 'fence', 'token')
        if job[2] == token_of(job[1], args.nonce) then
            lease_and_add(id)
        end
    end
end

local function start(id)
    stop_waiting(id, model)
    redis.call('HINCRBY', job_key(id), 'attempt', 1)
    local fence = redis.call('HINCRBY', job_key(id), 'fence', 1)
    redis.call('HSET', job_key(id), 'status', 'processing', 'started_at_ms', whole(now_ms()),
        'token', token_of(fence, args.nonce), 'holder', fence .. ' ' .. (args.worker or ''))
    lease_and_add(id)
    redis.call('PUBLISH', CHANGES, id)
end

local function start_next()
    if redis.call('ZCARD', quarantine_key(model)) == 0 then
        while #records < args.max_jobs do
            local id = take_next()
            if not id then
                break
            end
            start(id)
        end
    elseif args.is_idle then
        start(redis.call('ZPOPMIN', quarantine_key(model))[1])
    end
end

if args.is_repeated then
    repeat_answer()
end
if #records == 0 then -- a quarantined job runs alone
    start_next()
end

local waiting = redis.call('ZCARD', ready_key(model)) + redis.call('ZCARD', quarantine_key(model))
if waiting == 0 then
    redis.call('DEL', work_key(model))
else
    signal_work(model)
end
return {records = records, images = images, waiting = waiting}
