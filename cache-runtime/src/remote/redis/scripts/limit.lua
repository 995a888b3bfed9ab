-- What the scripts about a limit begin with. What they keep of a key is a string of one length, whose
-- first byte says which; they do what `limit/*.rs` does, and all their numbers are whole and exact.
local key = KEYS[1]
-- Above this not every integer is a number of Lua.
local MOST = 9007199254740991
-- No limit is about a longer time, in microseconds.
local LONGEST = 1125899906842624

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- What stands there, if it is one of these. Anything else counts as nothing, and is replaced.
local function read(tag, length)
  local bytes = redis.pcall('GETRANGE', key, 0, length)
  if type(bytes) ~= 'string' or #bytes ~= length or bytes:sub(1, 1) ~= tag then return nil end
  return bytes
end

-- Keeps it until that microsecond: by then nothing of it counts any more.
local function keep(bytes, over)
  redis.call('SET', key, bytes, 'PXAT', string.format('%.0f', math.ceil(over / 1000)))
end
