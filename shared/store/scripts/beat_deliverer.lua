-- A deliverer of webhooks says that it lives.
-- ARGV  deliverer, seconds after which a silent one is forgotten

record_heartbeat(DELIVERERS, ARGV[1], tonumber(ARGV[2]))
return true
