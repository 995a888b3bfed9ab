-- Says that a writer is in the middle of a change: until it settles, or for so long, nobody stores.
--
-- ARGV: token, how long the hold lasts in ms, time after which nothing is done in ms (0: none), what
-- is asked for, channel, message.
--   begin: a hold, beside those of others
--   renew: that it lasts on. One that is not found was lost, and somebody may have stored since
-- Reply: 1 if the writer was alone so far, 0 if not, 2 if it came too late; now in ms.
local CONTENDED, ALONE, LATE = 0, 1, 2
local token, hold_ms, not_after, ask, channel, message =
  ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]

local now = time_in_ms()
if not_after > 0 and now > not_after then return { LATE, now } end

local entry = read()
local flags = ask == 'renew' and 1 or 0
if entry.is == 'hold' then
  if redis.call('PTTL', key) < hold_ms then redis.call('PEXPIRE', key, ARGV[2]) end
  if others_than(token) then return { entry.flags % 2 == 0 and ALONE or CONTENDED, now } end
  redis.call('APPEND', key, token)
  contend(entry)
  flags = 1
else
  redis.call('SET', key, '\2' .. string.char(flags) .. token, 'PX', ARGV[2])
end
redis.call('PUBLISH', channel, message)
return { flags == 0 and ALONE or CONTENDED, now }
