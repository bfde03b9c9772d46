-- A deliverer of webhooks says that it lives.
-- ARGV  deliverer, seconds after which a silent one is forgotten

hear_of(DELIVERERS, ARGV[1], tonumber(ARGV[2]))
return true
