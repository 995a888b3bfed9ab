-- Gives a lease or a refresh back without a value.
--
-- ARGV: token, for how long nobody refreshes the value that stays in ms (0: not at all), channel,
-- wake message.
-- Reply: 1 if the token stood there, now in ms.
local token, pause_ms, channel, message = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

local entry = read()
if token == NOBODY or entry.token ~= token then return { 0, now } end
if entry.is == 'lease' or now >= entry.servable_until then
  redis.call('UNLINK', key)
else
  elect(pause_ms > 0 and now + pause_ms or 0, NOBODY)
  if entry.awaited then
    redis.call('SETRANGE', key, 2, string.char(bit.band(entry.flags, 191)))
  end
end
if entry.awaited then wake(channel, message) end
return { 1, now }
