-- Records that a deliverer of webhooks is alive.
---@param deliverer string  the deliverer's id
---@param window_s number  seconds after its last heartbeat until a deliverer is forgotten

record_heartbeat(DELIVERERS, args.deliverer, args.window_s)
