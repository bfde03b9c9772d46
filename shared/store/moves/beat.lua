-- A worker says that it lives.
-- KEYS  workers
-- ARGV  worker, seconds after which a silent worker is forgotten

local now = now_ms()
redis.call('ZADD', KEYS[1], whole(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now - ARGV[2] * 1000))
return redis.call('EXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2])))
