-- Outdates every value of a service, and tells all processes in the same step.
--
-- ARGV: channel, message.
-- Reply: 0, now in ms, the new stamp.
local channel, message = ARGV[1], ARGV[2]

local moved = move()
redis.call('PUBLISH', channel, message)
return { 0, now, moved }
