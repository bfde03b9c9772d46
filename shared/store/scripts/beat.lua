-- A worker says that it lives, and that these jobs are in its hands: their leases are renewed.
-- ARGV  model, worker, seconds after which a silent worker is forgotten, milliseconds of a lease, then id and fence of
--       each job
-- Returns the ids of those jobs that are no longer in its hands.

local now = now_ms()
record_heartbeat(workers_key(ARGV[1]), ARGV[2], tonumber(ARGV[3]))
local lost = {}
for index = 5, #ARGV, 2 do
    if is_claimed_by(ARGV[index], ARGV[index + 1]) then
        redis.call('ZADD', running_key(ARGV[1]), whole(now + ARGV[4]), ARGV[index])
    else
        lost[#lost + 1] = ARGV[index]
    end
end
return lost
