-- A bucket that drains evenly; what is kept is when it will be empty: `g`, the microsecond, the parts of
-- one beyond it, how many parts are one, and when this was written.
--
-- ARGV: take, refund or reset; how many parts are a microsecond; what the calls take, in microseconds
-- and parts; what fits, in microseconds and parts.
-- Reply: 1 if it was done, 0 if not; now in ms; now, and when it will be empty, in microseconds, and
-- parts.
local act, parts, cost, cost_part, burst, burst_part = ARGV[1], tonumber(ARGV[2]),
  tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local at, part, was_put_back = now, 0, false
local bytes = read('g', 25)
if bytes then
  local until_us, until_part, of_parts, written = struct.unpack('>I8I4I4I8', bytes, 2)
  if until_us <= MOST and until_part < of_parts and written <= until_us
    and until_us - written <= LONGEST then
    at, part = until_us, until_part
    -- By a limit of other parts: rounded up.
    if of_parts ~= parts and part > 0 then at, part = at + 1, 0 end
    -- The clock was put back: as if no time had passed.
    if written > now then at, was_put_back = at - (written - now), true end
    if at < now then at, part = now, 0 end
  end
end

local done, to, to_part = true, at, part
if act == 'take' then
  if cost > 0 or cost_part > 0 then
    to, to_part = at + cost, part + cost_part
    if to_part >= parts then to, to_part = to + 1, to_part - parts end
    local left = to - now
    done = left < burst or (left == burst and to_part <= burst_part)
    if not done then to, to_part = at, part end
  end
elseif act == 'refund' then
  to, to_part = at - cost, part - cost_part
  if to_part < 0 then to, to_part = to - 1, to_part + parts end
  if to < now then to, to_part = now, 0 end
else
  to, to_part = now, 0
end

if to == now and to_part == 0 then
  if act == 'reset' or at > now or part > 0 then redis.call('UNLINK', key) end
elseif to ~= at or to_part ~= part or was_put_back then
  local over = to_part > 0 and to + 1 or to
  keep('g' .. struct.pack('>I8I4I4I8', to, to_part, parts, now), over)
end
return { done and 1 or 0, math.floor(now / 1000), now, to, to_part }
