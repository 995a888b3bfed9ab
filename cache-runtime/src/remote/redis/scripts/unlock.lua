-- Gives back what a token has of a lock: the lock itself, or its place among those who wait. Whose turn it
-- is then is told.
--
-- ARGV: token, channel, what the message begins with.
-- Reply: 1 if the token had the lock, 0 if not; now in ms.
local token, channel, message = ARGV[1], ARGV[2], ARGV[3]

local lock = read()
local others, at = without(lock.places, token)
local had = lock.token == token
if not had and not at then return { 0, now } end

if had then lock.token = nil end
lock.places = others
-- A full server forgets the lock rather than keep it from the others.
if keep(lock).err and had then redis.call('UNLINK', key) end
local next = others[1]
if next and not lock.token and (had or at == 1) then
  local name = next.token:gsub('.', function(byte) return string.format('%02x', byte:byte()) end)
  -- Who waits looks again by itself, too: that nobody could be told is no error.
  redis.pcall('PUBLISH', channel, message .. key .. ':' .. name)
end
return { had and 1 or 0, now }
