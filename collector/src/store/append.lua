-- Appends the events of one batch as one entry, if all of them are the same to the store: new, or in conflict with what
-- has their numbers. The rule of numbers.rs, inside Redis.
--
-- KEYS: stream, sizes (list), totals (hash), senders (hash), senders by time (sorted set), runs of this sender (sorted set)
-- ARGV: sender, first sequence, count, dropped, now, digests, body, keep conflicts (0 or 1), most events, most bytes,
--       oldest millisecond, most senders, most gaps, most runs, most conflicts, seconds that runs are remembered
-- Returns: word, sequence numbers left out, events newly dropped, class of each event where the word is `mixed`
local stream, sizes, totals, senders, sender_times, runs = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local sender, sequence, count, dropped, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local digests, body, keep_conflicts = ARGV[6], ARGV[7], ARGV[8] == '1'
local WIDTH = 8

local function whole(number) return string.format('%.0f', number) end

-- next, floor, missing, dropped, conflicts, last seen, gaps
local known = { 0, 0, 0, 0, 0, 0 }
local gaps = {}
local kept = redis.call('HGET', senders, sender)
if kept then
  local at = 1
  for word in string.gmatch(kept, '[^ ]+') do
    if at <= 6 then known[at] = tonumber(word) else
      local from, to = string.match(word, '(%d+)-(%d+)')
      gaps[#gaps + 1] = { tonumber(from), tonumber(to) }
    end
    at = at + 1
  end
end

local stored = {}
-- Digests that were stored for a number, of the runs that cover it; nil where none is remembered.
local function differs(number, digest)
  local covering = redis.call('ZREVRANGEBYSCORE', runs, whole(number), '-inf', 'LIMIT', 0, 16)
  local found = false
  for _, run in ipairs(covering) do
    local first, length, id = string.match(run, '(%d+):(%d+):(.+)')
    first, length = tonumber(first), tonumber(length)
    if number < first + length then
      if stored[id] == nil then
        local entry = redis.call('XRANGE', stream, id, id)[1]
        stored[id] = false
        if entry then
          for i = 1, #entry[2], 2 do if entry[2][i] == 'd' then stored[id] = entry[2][i + 1] end end
        end
      end
      if stored[id] then
        found = true
        local at = (number - first) * WIDTH
        if string.sub(stored[id], at + 1, at + WIDTH) == digest then return false end
      end
    end
  end
  if found then return true end
  return nil
end

local function class(number, digest)
  if number >= known[1] then return 'F' end
  for _, gap in ipairs(gaps) do
    if number >= gap[1] and number < gap[2] then return 'F' end
  end
  local other = differs(number, digest)
  if other == nil then return number < known[2] and 'O' or 'K' end
  return other and 'C' or 'K'
end

local word = 'F'
if sequence < known[1] and count > 0 then
  local classes, same = {}, true
  for i = 0, count - 1 do
    classes[i + 1] = class(sequence + i, string.sub(digests, i * WIDTH + 1, (i + 1) * WIDTH))
    same = same and classes[i + 1] == classes[1]
  end
  word = classes[1]
  if not same then return { 'mixed', 0, 0, table.concat(classes) } end
  if word == 'O' or (word == 'C' and not keep_conflicts) then return { word, 0, 0, '' } end
end

local missing = math.max(0, sequence - known[1])
if missing > 0 then
  gaps[#gaps + 1] = { known[1], sequence }
  known[1] = sequence
  known[3] = known[3] + missing
end

local function append(conflict)
  local fields = { 's', sender, 'q', whole(sequence), 'n', count, 't', now, 'd', digests, 'b', body }
  if conflict then fields[#fields + 1] = 'c'; fields[#fields + 1] = '1' end
  local id = redis.call('XADD', stream, '*', unpack(fields))
  local bytes = #body + #digests
  redis.call('RPUSH', sizes, id .. ' ' .. count .. ' ' .. bytes)
  local events = redis.call('HINCRBY', totals, 'events', count)
  local all_bytes = redis.call('HINCRBY', totals, 'bytes', bytes)
  redis.call('ZADD', runs, whole(sequence), whole(sequence) .. ':' .. count .. ':' .. id)
  if redis.call('ZCARD', runs) > tonumber(ARGV[14]) then redis.call('ZREMRANGEBYRANK', runs, 0, 0) end
  redis.call('EXPIRE', runs, ARGV[16])

  local most_events, most_bytes, oldest_ms = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
  local trimmed
  for _ = 1, 100 do
    local oldest = redis.call('LINDEX', sizes, 0)
    local old_id, old_count, old_bytes = string.match(oldest, '(%S+) (%d+) (%d+)')
    local too_old = tonumber(string.match(old_id, '%d+')) < oldest_ms
    if old_id == id or not (too_old or events > most_events or all_bytes > most_bytes) then
      trimmed = trimmed and old_id
      break
    end
    redis.call('LPOP', sizes)
    events = redis.call('HINCRBY', totals, 'events', -tonumber(old_count))
    all_bytes = redis.call('HINCRBY', totals, 'bytes', -tonumber(old_bytes))
    trimmed = old_id
  end
  if trimmed then redis.call('XTRIM', stream, 'MINID', trimmed) end
end

if word == 'F' and count > 0 then
  append(false)
  local last = sequence + count
  local rest = {}
  for _, gap in ipairs(gaps) do
    local filled = math.max(0, math.min(gap[2], last) - math.max(gap[1], sequence))
    known[3] = math.max(0, known[3] - filled)
    if filled == 0 then rest[#rest + 1] = gap else
      if gap[1] < sequence then rest[#rest + 1] = { gap[1], sequence } end
      if last < gap[2] then rest[#rest + 1] = { last, gap[2] } end
    end
  end
  gaps = rest
  known[1] = math.max(known[1], last)
elseif word == 'C' then
  if known[5] < tonumber(ARGV[15]) then append(true) end
  known[5] = known[5] + count
end
while #gaps > tonumber(ARGV[13]) do known[2] = table.remove(gaps, 1)[2] end

local more_dropped = math.max(0, dropped - known[4])
known[4] = math.max(dropped, known[4])
known[6] = tonumber(now)
local words = {}
for i = 1, 6 do words[i] = whole(known[i]) end
for _, gap in ipairs(gaps) do words[#words + 1] = whole(gap[1]) .. '-' .. whole(gap[2]) end
redis.call('HSET', senders, sender, table.concat(words, ' '))
redis.call('ZADD', sender_times, now, sender)
if redis.call('ZCARD', sender_times) > tonumber(ARGV[12]) then
  redis.call('HDEL', senders, redis.call('ZPOPMIN', sender_times)[1])
end
return { word, missing, more_dropped, '' }
