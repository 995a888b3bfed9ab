-- Reads the stamp of a tag, and makes one if there is none: whatever carried another is outdated then.
-- A stamp is a time in microseconds when it is made, and only ever compared for equality.
--
-- ARGV: for how long it is kept at least, in ms.
-- Reply: 1, now in ms, the stamp; 0, now in ms if writers hold the tag.
local keep_ms = tonumber(ARGV[1])
-- Above this not every integer is a number of Lua.
local MOST = 9007199254740991

local entry = read()
if entry.is == 'hold' then return { 0, now } end
local text = entry.head
local stamp = text and #text <= 16 and text:find('^%d+$') and tonumber(text)
if not stamp or stamp < 1 or stamp > MOST then
  stamp = time[1] * 1000000 + time[2]
  redis.call('SET', key, string.format('%.0f', stamp), 'PX', ARGV[1])
elseif redis.call('PTTL', key) < keep_ms then
  redis.call('PEXPIRE', key, ARGV[1])
end
return { 1, now, stamp }
