-- The workers that have been heard of lately.
-- ARGV  model, seconds that count as lately

return redis.call('ZRANGEBYSCORE', workers_key(ARGV[1]), whole(now_ms() - ARGV[2] * 1000), '+inf')
