-- Calls counted by windows that follow each other by the clock: `w`, the microsecond in which the window
-- ends, what was taken in the one before, and in this one.
--
-- ARGV: take, refund or reset; fixed or sliding; how long a window is, in microseconds; what is allowed
-- in one; how many calls.
-- Reply: 1 if it was done, 0 if not; now in ms; now and the end of the window in microseconds; what was
-- taken in the one before, and in this one.
local act, is_sliding, per, limit, cost =
  ARGV[1], ARGV[2] == 'sliding', tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local start = now - now % per
local ends, previous, current, was_put_back = start + per, 0, 0, false
local bytes = read('w', 17)
if bytes then
  local until_us, before, count = struct.unpack('>I8I4I4', bytes, 2)
  if until_us > now and until_us <= MOST then
    -- It runs. Or the clock was put back: by a little, and the next one has begun already; or by more,
    -- and what was taken counts in the one of now.
    previous, current = before, count
    was_put_back = until_us - now > 2 * per
    if not was_put_back then ends = until_us end
  elseif until_us <= now and until_us > start - per then
    previous = count
  end
end
if not is_sliding then previous = 0 end

-- `room` parts of `of` of a window, rounded down. By halves of 16 bits, or the product of the three
-- would be no number of Lua.
local function share(room, of)
  local whole, rest = math.floor(per / of), per % of
  local high = math.floor(room / 65536) * rest
  local low = (high % of) * 65536 + (room % 65536) * rest
  return room * whole + math.floor(high / of) * 65536 + math.floor(low / of)
end

local done, was_taken, was_before = true, current, previous
if act == 'take' then
  if cost > 0 then
    local room = limit - cost - current
    done = room >= 0 and (room >= previous or ends - now <= share(room, previous))
    if done then current = current + cost end
  end
elseif act == 'refund' then
  -- Of those before only what cannot be of this one.
  previous = math.max(0, previous - math.max(0, cost - current))
  current = math.max(0, current - cost)
else
  previous, current = 0, 0
end

if previous == 0 and current == 0 then
  if act == 'reset' or was_taken > 0 or was_before > 0 then redis.call('UNLINK', key) end
elseif current ~= was_taken or previous ~= was_before or was_put_back then
  local over = is_sliding and current > 0 and ends + per or ends
  keep('w' .. struct.pack('>I8I4I4', ends, previous, current), over)
end
return { done and 1 or 0, math.floor(now / 1000), now, ends, previous, current }
