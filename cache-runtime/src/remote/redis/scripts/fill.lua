-- Stores a value if the token still stands.
--
-- ARGV: token, the value, its life in ms, channel, wake message.
-- Reply: 1 if it was stored, now in ms.
local token, value, life_ms, channel, message = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local entry = read()
if token == NOBODY or entry.token ~= token then
  -- Whoever waits for this run would wait in vain.
  wake(channel, message)
  return { 0, now }
end
redis.call('SET', key, value, 'PX', life_ms)
if entry.awaited then wake(channel, message) end
return { 1, now }
