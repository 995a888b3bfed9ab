-- What the scripts about a lock begin with. Its key is a string: a byte that says so, the token of its
-- holder (zero: it is free), the fence, the server's time until which it is held, the time at which this
-- was written; then who waits, in their order: a token, and the time until which its place counts.
-- All times are in ms.
local key = KEYS[1]
local TAG, NOBODY = '\3', string.rep('\0', 16)
local HEAD, PLACE, PLACES = 41, 24, 128
-- A place counts for so long after it was last asked for.
local COUNTS = 1000
-- For so long after its last use a lock remembers its fence.
local KEPT = 600000
-- Above this not every integer is a number of Lua.
local MOST = 9007199254740991
local CENTURY = 3153600000000

local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)

-- The lock that stands there: who has it and until when, if somebody has, and who waits. Anything else
-- counts as a lock that nobody ever had, and is replaced.
local function read()
  local lock = { fence = 0, places = {} }
  local bytes = redis.pcall('GETRANGE', key, 0, HEAD + PLACES * PLACE)
  local length = type(bytes) == 'string' and #bytes or 0
  if length < HEAD or length > HEAD + PLACES * PLACE or (length - HEAD) % PLACE ~= 0 then return lock end
  local fence, ends, written = struct.unpack('>I8I8I8', bytes, 18)
  if bytes:sub(1, 1) ~= TAG or fence >= MOST or written >= MOST or ends > written + CENTURY then
    return lock
  end
  lock.fence = fence
  -- The clock was put back: as if no time had passed.
  local back = math.max(written - now, 0)
  local token = bytes:sub(2, 17)
  if token ~= NOBODY and ends - back > now then
    lock.token, lock.ends = token, ends - back
  end
  for at = HEAD + 1, length, PLACE do
    local counts = struct.unpack('>I8', bytes, at + 16) - back
    if counts > now and counts <= now + COUNTS then
      lock.places[#lock.places + 1] = { token = bytes:sub(at, at + 15), ends = counts }
    end
  end
  return lock
end

-- Keeps it. A full server refuses.
local function keep(lock)
  local ends = lock.token and lock.ends or 0
  local parts = { TAG, lock.token or NOBODY, struct.pack('>I8I8I8', lock.fence, ends, now) }
  for _, place in ipairs(lock.places) do
    parts[#parts + 1] = place.token .. struct.pack('>I8', place.ends)
  end
  local over = string.format('%.0f', math.max(ends, now) + KEPT)
  return redis.pcall('SET', key, table.concat(parts), 'PXAT', over)
end

-- The places of all but one, and which of all was its.
local function without(places, token)
  local others, at = {}, nil
  for number, place in ipairs(places) do
    if place.token == token then
      at = at or number
    else
      others[#others + 1] = place
    end
  end
  return others, at
end
