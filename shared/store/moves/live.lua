-- The workers that have been heard of lately.
-- KEYS  workers
-- ARGV  seconds that count as lately

return redis.call('ZRANGEBYSCORE', KEYS[1], whole(now_ms() - ARGV[1] * 1000), '+inf')
