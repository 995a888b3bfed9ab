-- Asks for a lock, or renews it. Who comes first gets it first: a lock that is free is only for the first
-- of those who wait.
--
-- ARGV: token, how long the lock lasts in ms, time after which nothing is done in ms (0: none), what is
-- asked for.
--   now: the lock, or nothing: a place that the token has is given up
--   wait: the lock, or a place among those who wait. Who has one keeps it by asking again
--   renew: that it lasts as long as a new one, if the token has it
-- Reply: code, now in ms, and for held: the fence; for busy: when it may be somebody else's at the latest,
-- in ms from now on, and how many come first, -1 for a token without a place.
local HELD, BUSY, LATE, LOST = 1, 2, 3, 4
local token, lease_ms, not_after, ask = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]

if not_after > 0 and now > not_after then return { LATE, now } end

local lock = read()
local others, at = without(lock.places, token)

if lock.token ~= token then
  if ask == 'renew' then return { LOST, now } end
  if lock.token or (lock.places[1] and at ~= 1) then
    local left = (lock.token and lock.ends or lock.places[1].ends) - now
    if ask == 'now' then
      lock.places = others
      if at then keep(lock) end
      return { BUSY, now, left, -1 }
    end
    if not at and #lock.places == PLACES then return { BUSY, now, left, -1 } end
    at = at or #lock.places + 1
    lock.places[at] = { token = token, ends = now + COUNTS }
    local kept = keep(lock)
    if kept.err then return kept end
    return { BUSY, now, left, at - 1 }
  end
  -- Never less than it was, also where the clock was put back, and more than all that were forgotten.
  lock.token, lock.fence = token, math.max(now_us, lock.fence + 1)
end
lock.places, lock.ends = others, now + lease_ms
local kept = keep(lock)
if kept.err then return kept end
return { HELD, now, lock.fence }
