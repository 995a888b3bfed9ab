-- Asks to be the one that runs the function, or renews that.
--
-- ARGV: token, length of the lease in ms, time after which nothing is done in ms (0: none), what
-- is asked for, the first bytes of what the caller read and rejected (none: it rejects nothing).
--   load: a lease, or the refresh of a value that is no longer fresh
--   early: the same, and the refresh of a fresh value whose life is half over
--   refresh: the same, whoever has a lease or refreshes
--   renew: what the token has, if it still has it
-- Reply: code, now in ms, and for granted: 1 if a value stays and is served meanwhile; for found
-- and stale: the value; for busy: how long the other's lease lasts at most, in ms.
local GRANTED, FOUND, STALE, BUSY, HELD, NEWER, LATE, LOST = 1, 2, 3, 4, 5, 6, 7, 8
local token, lease_ms, not_after, ask, seen =
  ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]

if not_after > 0 and now > not_after then return { LATE, now } end

local entry = read()

-- Whoever waits for what it replaces is woken by what ends it.
local function lease()
  local flags = entry.awaited and '\1' or '\0'
  redis.call('SET', key, '\0' .. flags .. token, 'PX', ARGV[2])
  return { GRANTED, now, 0 }
end

local function refresh()
  elect(now + lease_ms, token)
  -- The token has to stand as long as the refresh may take, also past the value's own life.
  local left = redis.call('PTTL', key)
  if left >= 0 and left < lease_ms then redis.call('PEXPIRE', key, ARGV[2]) end
  return { GRANTED, now, now < entry.servable_until and 1 or 0 }
end

-- None of ours lives for ever. What some other program did to the expiry ends with a lease.
local function bound()
  local left = redis.call('PTTL', key)
  if left >= 0 then return left end
  redis.call('PEXPIRE', key, ARGV[2])
  return lease_ms
end

-- Whoever ends it wakes those who wait.
local function await()
  if entry.awaited then return end
  if entry.is == 'lease' then
    redis.call('SETRANGE', key, 1, '\1')
  else
    redis.call('SETRANGE', key, 2, string.char(bit.bor(entry.flags, 64)))
  end
end

local function busy(left)
  await()
  return { BUSY, now, left }
end

if entry.token == token then
  if entry.is == 'value' then return refresh() end
  redis.call('PEXPIRE', key, ARGV[2])
  return { GRANTED, now, 0 }
end
if ask == 'renew' then return { LOST, now } end
if entry.is == 'hold' then
  bound()
  return { HELD, now }
end
if entry.is == 'newer' then return { NEWER, now } end
if entry.is == 'lease' then
  if ask == 'refresh' then return lease() end
  return busy(bound())
end
if entry.is ~= 'value' then return lease() end

-- Somebody refreshes it; without a token, it is only not yet time for another try.
local paused = entry.refresh_until > now
local refreshed = paused and entry.token
if now >= entry.servable_until then
  -- It counts as absent, or as a lease.
  if refreshed and ask ~= 'refresh' then return busy(entry.refresh_until - now) end
  return lease()
end
-- Shorter ones are not of a value, and would fit many.
if #seen >= PREFIX and entry.head:sub(1, #seen) == seen then return lease() end
if ask == 'refresh' then return refresh() end
-- Who asks for an early refresh of one that is younger has seen the one before it.
local is_young = now - entry.created < entry.fresh_until - now
if now < entry.fresh_until and (ask ~= 'early' or is_young) then
  return { FOUND, now, redis.call('GET', key) }
end
if not paused then return refresh() end
-- It is kept only for the case that the function fails: there is nothing to serve until then.
if refreshed and now >= entry.stale_until then return busy(entry.refresh_until - now) end
-- A caller that may not be served it any more, or would rather have a newer one, waits.
if refreshed and now >= entry.fresh_until then await() end
return { STALE, now, redis.call('GET', key) }
