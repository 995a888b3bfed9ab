-- Ends the hold of one writer, with its value or without, and tells all processes in the same step.
-- The value is stored if nobody else changed anything meanwhile; the last writer opens the key.
--
-- ARGV: token, the value, its life in ms (0: there is none), channel, message.
-- Reply: 1 if the writer was alone from beginning to end and its value, if it has one, is stored; 0 if
-- not; now in ms.
local token, value, life_ms, channel, message =
  ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]

local alone = false
local entry = read()
if entry.is ~= 'hold' then
  -- The hold has ended by itself, and what stands there may be from before the change.
  redis.call('UNLINK', key)
else
  local others, ends = without(entry.writers, token)
  if not ends then
    hold_by(bit.bor(entry.flags, 1), others)
  elseif others ~= '' then
    hold_by(entry.flags, others)
  else
    alone = entry.flags % 2 == 0
    local stays = alone and life_ms > 0
    if stays and redis.pcall('SET', key, value, 'PX', ARGV[3]).err then
      -- A server that is full takes no value, and opens the key all the same.
      alone, stays = false, false
    end
    if not stays then redis.call('UNLINK', key) end
  end
end
redis.call('PUBLISH', channel, message)
return { alone and 1 or 0, now }
