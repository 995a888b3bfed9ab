-- What the scripts about a service begin with. Its key is a hash: `stamp`, which every value of
-- the service carries, and `server`, the server that was seen last. A stamp is a time in
-- microseconds when it is made, and only ever compared for equality.
local key = KEYS[1]
-- Above this not every integer is a number of Lua.
local MOST = 9007199254740991

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)

local kind = redis.call('TYPE', key).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('UNLINK', key) end

-- The stamp that stands, if it is one.
local function stamp()
  local text = redis.call('HGET', key, 'stamp')
  if not text or #text > 16 or not text:find('^%d+$') then return nil end
  local number = tonumber(text)
  return number > 0 and number < MOST and number or nil
end

-- A new one, unlike all before, also where the server's clock was put back.
local function move()
  local next = math.max(now_us, (stamp() or 0) + 1)
  redis.call('HSET', key, 'stamp', string.format('%.0f', next))
  return next
end
