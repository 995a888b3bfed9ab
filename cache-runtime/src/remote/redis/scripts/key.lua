-- What all scripts about one entry begin with. The layout of the bytes is in `blob/mod.rs`.
local key = KEYS[1]
local NOBODY = string.rep('\0', 16)
-- The first bytes of a key: all that is looked at, and all that a caller has to send back of what
-- it rejects.
local HEAD = 128
local PREFIX = 76

-- A writer of a hold: its token, and the server's time until which it holds the key, in a century at
-- most.
local WRITER = 24
local CENTURY = 3153600000000

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- The writers of a hold whose time is not over. One that died without a word is none from then on, also
-- while others come and go.
local function holding(writers)
  local left = {}
  for at = 1, #writers, WRITER do
    local ends = struct.unpack('>I8', writers, at + 16)
    if ends > now and ends <= now + CENTURY then
      left[#left + 1] = writers:sub(at, at + WRITER - 1)
    end
  end
  return table.concat(left)
end

-- What stands there: `is` is absent, lease, hold, value, newer or foreign. A lease and a value say
-- who has the token, if somebody has, and whether somebody awaits a change; a hold its writers. Of
-- what is foreign, the head says what it is if it is a string.
local function read()
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then return { is = 'absent' } end
  if kind ~= 'string' then return { is = 'foreign' } end
  local head = redis.call('GETRANGE', key, 0, HEAD - 1)
  local length = #head < HEAD and #head or redis.call('STRLEN', key)
  local first, second = head:byte(1, 2)
  if first == 0 and length == 18 then
    return { is = 'lease', token = head:sub(3, 18), awaited = second % 2 == 1 }
  end
  if first == 2 and length >= 2 + WRITER and length % WRITER == 2 then
    local writers = holding(redis.call('GETRANGE', key, 2, -1))
    if writers == '' then return { is = 'absent' } end
    return { is = 'hold', flags = second, writers = writers }
  end
  if first == 1 and length >= 2 and second > 1 then return { is = 'newer' } end
  if first ~= 1 or second ~= 1 or length < PREFIX then return { is = 'foreign', head = head } end
  local flags, stamps = head:byte(3, 4)
  if stamps < 1 or stamps > 9 or length < PREFIX + 8 * stamps then return { is = 'foreign' } end
  local token = head:sub(45, 60)
  return {
    is = 'value',
    head = head,
    flags = flags,
    awaited = bit.band(flags, 64) ~= 0,
    created = struct.unpack('>I8', head, 5),
    fresh_until = struct.unpack('>I8', head, 13),
    stale_until = struct.unpack('>I8', head, 21),
    servable_until = struct.unpack('>I8', head, 29),
    refresh_until = struct.unpack('>I8', head, 37),
    token = token ~= NOBODY and token or nil,
  }
end

-- The writers but for one, and the time until which that one holds, if it is among them.
local function without(writers, token)
  for at = 1, #writers, WRITER do
    if writers:sub(at, at + 15) == token then
      local others = writers:sub(1, at - 1) .. writers:sub(at + WRITER)
      return others, struct.unpack('>I8', writers, at + 16)
    end
  end
  return writers, nil
end

-- Makes it a hold of these writers, for as long as the last of them holds. A full server refuses, and
-- then the hold ends: its writers find none, and store nothing either.
local function hold_by(flags, writers)
  local ends = now
  for at = 1, #writers, WRITER do
    ends = math.max(ends, struct.unpack('>I8', writers, at + 16))
  end
  local bytes = '\2' .. string.char(flags) .. writers
  local told = redis.pcall('SET', key, bytes, 'PX', string.format('%.0f', ends - now))
  if told.err then redis.call('UNLINK', key) end
  return not told.err
end

-- Puts a time and a token into the value that stands there; its expiry stays.
local function elect(refresh_until, token)
  redis.call('SETRANGE', key, 36, struct.pack('>I8', refresh_until) .. token)
end

-- Waiters look again by themselves, too: that nobody could be told is no error.
local function wake(channel, message)
  redis.pcall('PUBLISH', channel, message)
end
