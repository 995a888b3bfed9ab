-- What all scripts about one entry begin with. The layout of the bytes is in `blob/mod.rs`.
local key = KEYS[1]
local NOBODY = string.rep('\0', 16)
-- The first bytes of a key: all that is looked at, and all that a caller has to send back of what
-- it rejects.
local HEAD = 128
local PREFIX = 76

local function time_in_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- What stands there: `is` is absent, lease, hold, value, newer or foreign. A lease and a value say
-- who has the token, if somebody has, and whether somebody awaits a change.
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
  if first == 2 and length >= 18 and length % 16 == 2 then
    return { is = 'hold', flags = second }
  end
  if first == 1 and length >= 2 and second > 1 then return { is = 'newer' } end
  if first ~= 1 or second ~= 1 or length < PREFIX then return { is = 'foreign' } end
  local flags, stamps = head:byte(3, 4)
  if stamps < 1 or stamps > 9 or length < PREFIX + 8 * stamps then return { is = 'foreign' } end
  local token = head:sub(45, 60)
  return {
    is = 'value',
    head = head,
    flags = flags,
    awaited = bit.band(flags, 64) ~= 0,
    fresh_until = struct.unpack('>I8', head, 13),
    stale_until = struct.unpack('>I8', head, 21),
    servable_until = struct.unpack('>I8', head, 29),
    refresh_until = struct.unpack('>I8', head, 37),
    token = token ~= NOBODY and token or nil,
  }
end

-- The tokens of a hold but for one; nothing if that is not among them.
local function others_than(token)
  local tokens = redis.call('GETRANGE', key, 2, -1)
  for at = 1, #tokens, 16 do
    if tokens:sub(at, at + 15) == token then return tokens:sub(1, at - 1) .. tokens:sub(at + 16) end
  end
  return nil
end

-- Changes a hold; its expiry stays. A full server refuses, and then the hold ends: its writers find
-- none, and store nothing either.
local function hold_by(flags, tokens)
  local bytes = '\2' .. string.char(flags) .. tokens
  if redis.pcall('SET', key, bytes, 'KEEPTTL').err then redis.call('UNLINK', key) end
end

-- Lets the writers of a hold know that they were not alone.
local function contend(hold)
  hold_by(bit.bor(hold.flags, 1), redis.call('GETRANGE', key, 2, -1))
end

-- Puts a time and a token into the value that stands there; its expiry stays.
local function elect(refresh_until, token)
  redis.call('SETRANGE', key, 36, struct.pack('>I8', refresh_until) .. token)
end

-- Waiters look again by themselves, too: that nobody could be told is no error.
local function wake(channel, message)
  redis.pcall('PUBLISH', channel, message)
end
