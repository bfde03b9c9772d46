-- Which commands the user of this connection may not run. Nothing is run.
---@param commands string[]  each a command and its arguments, separated by spaces
-- Returns `missing`: the numbers of those commands in the list, from 1. Nothing on servers that cannot tell.

if not redis.acl_check_cmd then
    return
end
local missing = {}
for number, command in ipairs(args.commands) do
    local words = {}
    for word in string.gmatch(command, '%S+') do
        words[#words + 1] = word
    end
    if not redis.acl_check_cmd(unpack(words)) then
        missing[#missing + 1] = number
    end
end
return {missing = missing}
