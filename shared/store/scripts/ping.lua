-- Changes nothing, and fails on a server that is no primary, as every script does. With a channel: sends an empty message
-- to it.
---@param channel? string

if args.channel then
    redis.call('PUBLISH', args.channel, '')
end
