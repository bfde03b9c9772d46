-- Who of a set of workers or deliverers has been heard of lately.
-- ARGV  name of the set, seconds that count as lately

return redis.call('ZRANGEBYSCORE', ARGV[1], whole(now_ms() - ARGV[2] * 1000), '+inf')
