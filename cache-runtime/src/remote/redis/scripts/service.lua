-- Reads the stamp of a service, on each new connection. A server that is not the one of last time
-- may have come back with old data, and whatever it has is outdated once for all.
--
-- ARGV: who the server is, policy (clear: outdate what another server has; trust: do not).
-- Reply: 1 if another server was seen last, now in ms, the stamp.
local server, policy = ARGV[1], ARGV[2]

local last = redis.call('HGET', key, 'server')
local changed = last and last ~= server
if last ~= server then redis.call('HSET', key, 'server', server) end
local current = stamp()
if not current or (changed and policy == 'clear') then current = move() end
return { changed and 1 or 0, now, current }
