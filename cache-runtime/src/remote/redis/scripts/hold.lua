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

if not_after > 0 and now > not_after then return { LATE, now } end

local entry = read()
local flags, others, ends = ask == 'renew' and 1 or 0, '', nil
if entry.is == 'hold' then
  others, ends = without(entry.writers, token)
  flags = ends and entry.flags or bit.bor(entry.flags, 1)
end
-- Never shorter than it was.
local mine = token .. struct.pack('>I8', math.max(ends or 0, now + hold_ms))
if not hold_by(flags, others .. mine) then return redis.error_reply('OOM no room for a hold') end
if not ends then redis.call('PUBLISH', channel, message) end
return { flags % 2 == 0 and ALONE or CONTENDED, now }
