-- Removes whatever stands there, and tells all processes in the same step. A hold stays, and its
-- writers learn that they were not alone.
--
-- ARGV: channel, message.
-- Reply: 0 if there was nothing, 1 if it was removed, 2 for a hold; now in ms.
local channel, message = ARGV[1], ARGV[2]

local code
local entry = read()
if entry.is == 'hold' then
  hold_by(bit.bor(entry.flags, 1), entry.writers)
  code = 2
else
  code = redis.call('UNLINK', key)
end
redis.call('PUBLISH', channel, message)
return { code, now }
