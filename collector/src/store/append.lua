-- Appends the new events of one batch, all or none of them from the view of every other client.
--
-- KEYS: stream, ids seen, ids seen before those, senders (hash), senders by time (sorted set)
-- ARGV: sender, first sequence, dropped, now, history, duplicate window, remembered senders, then id and event in turn
-- Returns: sequence numbers left out, events newly dropped, indexes of duplicates …
local stream, seen, seen_before, senders, sender_times = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local sender, sequence, dropped, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local history, window, max_senders = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local first = 8

local function whole(number) return string.format('%.0f', number) end

local known = { next_sequence = sequence, missing = 0, dropped = 0 }
local kept = redis.call('HGET', senders, sender)
if kept then known = cjson.decode(kept) end

local ids = {}
for i = first, #ARGV, 2 do ids[#ids + 1] = ARGV[i] end
local result = { 0, 0 }
local late = 0
if #ids > 0 then
  local in_seen = redis.call('SMISMEMBER', seen, unpack(ids))
  local in_seen_before = redis.call('SMISMEMBER', seen_before, unpack(ids))
  local in_batch, fresh = {}, {}
  for i, id in ipairs(ids) do
    if in_seen[i] == 1 or in_seen_before[i] == 1 or in_batch[id] then
      result[#result + 1] = i - 1
    else
      local number = sequence + i - 1
      redis.call('XADD', stream, 'MAXLEN', '~', history, '*',
        'sender', sender, 'sequence', whole(number), 'event', ARGV[first + 2 * i - 1])
      in_batch[id] = true
      fresh[#fresh + 1] = id
      if number < known.next_sequence then late = late + 1 end
    end
  end
  -- After the events, so that running out of memory on the way can repeat an event but never lose one.
  if #fresh > 0 then redis.call('SADD', seen, unpack(fresh)) end
  if redis.call('SCARD', seen) >= window then
    redis.call('UNLINK', seen_before)
    redis.call('RENAME', seen, seen_before)
  end
end

result[1] = math.max(0, sequence - known.next_sequence)
result[2] = math.max(0, dropped - known.dropped)
redis.call('HSET', senders, sender, string.format(
  '{"next_sequence":%.0f,"missing":%.0f,"dropped":%.0f,"last_seen_ms":%s}',
  math.max(known.next_sequence, sequence + #ids), math.max(0, known.missing + result[1] - late),
  math.max(known.dropped, dropped), now))
redis.call('ZADD', sender_times, now, sender)
while redis.call('ZCARD', sender_times) > max_senders do
  redis.call('HDEL', senders, redis.call('ZPOPMIN', sender_times)[1])
end
return result
