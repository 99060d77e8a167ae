-- One sequence of operations, see store.go.
-- KEYS: of all operations in turn, under one tag.
-- ARGV: for each operation its name, number of keys, number of arguments, arguments.
-- Reply: a list per operation, 1 or 0 (guard lost) first; none after a lost guard.

local call = redis.call
local t = call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local op = {}

-- lengthen lets a key live at least ms longer.
local function lengthen(key, ms)
  if call('PTTL', key) < ms then call('PEXPIRE', key, ms) end
end

local function set(key, value, ttl)
  if tonumber(ttl) > 0 then call('SET', key, value, 'PX', ttl) else call('SET', key, value) end
end

-- op_value.go
function op.get(k)
  local v = call('GET', k[1])
  if v then return {1, 1, v} end
  return {1, 0, ''}
end

function op.put(k, a)
  set(k[1], a[1], a[2])
  return {1}
end

function op.once(k, a)
  local v = call('GET', k[1])
  if v then return {v == a[1] and 1 or 0} end
  set(k[1], a[1], a[2])
  return {1}
end

function op.swap(k, a)
  local v = call('GET', k[1])
  local won
  if v then won = v == a[3] or (a[1] == '0' and v == a[2]) else won = a[1] == '1' end
  if won then set(k[1], a[3], a[4]) end
  return {won and 1 or 0, v and 1 or 0, v or ''}
end

function op.delete(k)
  call('DEL', k[1])
  return {1}
end

function op.time()
  return {1, now}
end

function op.publish(_, a)
  call('PUBLISH', a[1], a[2])
  return {1}
end

-- op_count.go: sliding 0, fixed 1, idle 2
local function tally(key, window, kind)
  local edge = now - window
  local first, last
  if kind == '0' then
    first = call('ZRANGEBYSCORE', key, '(' .. edge, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  else
    first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  end
  if not first[2] then return 0, 0, 0 end
  last = call('ZRANGE', key, -1, -1, 'WITHSCORES')
  local oldest, newest = tonumber(first[2]), tonumber(last[2])
  if (kind == '1' and oldest <= edge) or (kind == '2' and newest <= edge) then return 0, 0, 0 end
  local n
  if kind == '0' then n = call('ZCOUNT', key, '(' .. edge, '+inf') else n = call('ZCARD', key) end
  return n, oldest, newest
end

local function count(key, id, window, kind, max, keep)
  local n, oldest, newest = tally(key, window, kind)
  local had = call('ZSCORE', key, id)
  if had and n > 0 and tonumber(had) >= oldest then return {1, n, oldest, newest}, false end
  if max > 0 and n >= max then return {0, n, oldest, newest}, false end
  if n == 0 then
    call('DEL', key)
    oldest = now
  elseif kind == '0' then
    call('ZREMRANGEBYSCORE', key, '-inf', now - window)
  end
  call('ZADD', key, now, id)
  n = n + 1
  if n > keep then
    call('ZREMRANGEBYRANK', key, 0, n - keep - 1)
    n = keep
    oldest = tonumber(call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
  end
  if kind == '1' then
    call('PEXPIRE', key, math.max(oldest + window - now, 1))
  else
    call('PEXPIRE', key, window)
  end
  return {1, n, oldest, now}, true
end

function op.count(k, a)
  local keep = tonumber(a[5])
  local r, added = count(k[1], a[1], tonumber(a[2]), a[3], tonumber(a[4]), keep)
  r[5] = 0
  if added and r[2] == tonumber(a[6]) then r[5] = count(k[2], a[1], tonumber(a[7]), '0', 0, keep)[2] end
  return r
end

function op.tally(k, a)
  local n, oldest, newest = tally(k[1], tonumber(a[1]), a[2])
  local below = tonumber(a[3])
  return {(below <= 0 or n < below) and 1 or 0, n, oldest, newest}
end

-- op_reserve.go: zset place -> deadline; a ceiling is "most trusted window n newest told"
function op.reserve(k, a)
  local places, failed, known, trust = k[1], k[2], k[3], k[4]
  local id, life = a[1], tonumber(a[2])
  local text = call('GET', known)
  local most, trusted, window, n, newest = string.match(text or '', '^(%d+) (%d+) (%d+) (%d+) (%d+) %d+$')
  if not most then
    text = false
    most, trusted, window, n, newest = string.match(a[3], '^(%d+) (%d+) (%d+) (%d+) (%d+) %d+$')
  end
  most, window, n = tonumber(most), tonumber(window), tonumber(n)
  local own, _, last = tally(failed, window, '2')
  local is = 0
  if trust and call('EXISTS', trust) == 1 then is, most = 1, tonumber(trusted) end
  call('ZREMRANGEBYSCORE', places, '-inf', now)
  local mine, ahead, taken = call('ZSCORE', places, id), 0, 1
  if mine then
    ahead = call('ZCOUNT', places, '-inf', '(' .. mine)
  elseif most > 0 then
    if tonumber(newest) + window <= now then n = 0 end
    ahead = call('ZCARD', places)
    if math.max(n, own) + ahead >= most then
      taken = 0
    else
      -- Later places have later deadlines, so that their order is kept.
      local latest = call('ZRANGE', places, -1, -1, 'WITHSCORES')
      call('ZADD', places, math.max(now + life, tonumber(latest[2] or 0) + 1), id)
      lengthen(places, life + 1000)
    end
  end
  return {1, taken, ahead, own, last, is, text and 1 or 0, text or a[3]}
end

-- op_mark.go: hash field -> "mark id"
function op.advance(k, a)
  local to = tonumber(a[2])
  local v = call('HGET', k[1], a[1])
  local last, id = 0, ''
  if v then
    last, id = string.match(v, '^(%-?%d+) %-?%d+ (.*)$')
    last = tonumber(last)
    if last >= to then
      return {(last == to and a[4] ~= '' and id == a[4]) and 1 or 0, last}
    end
  end
  call('HSET', k[1], a[1], a[2] .. ' ' .. a[3] .. ' ' .. a[4])
  if tonumber(a[5]) > 0 then lengthen(k[1], tonumber(a[5])) end
  return {1, last}
end

function op.marks(k)
  local all = call('HGETALL', k[1])
  table.insert(all, 1, 1)
  return all
end

-- op_total.go: hash since, at, sources, n0... and of:SOURCE -> "ms counter..."
function op.total(k, a)
  local key, source, keep, life, n = k[1], 'of:' .. a[1], tonumber(a[3]), tonumber(a[4]), tonumber(a[5])
  local function add(field, by)
    local r = redis.pcall('HINCRBY', key, field, string.format('%.0f', by))
    if type(r) == 'table' and r.err then call('HSET', key, field, '9223372036854775807') end
  end
  local text, before = call('HGET', key, source), {}
  if text then
    for w in string.gmatch(text, '%d+') do before[#before + 1] = tonumber(w) end
    table.remove(before, 1)
  else
    if a[2] == '1' then return {0} end
    add('sources', 1)
    for i = 1, n do before[i] = tonumber(a[5 + n + i]) end
  end
  local line = string.format('%.0f', now)
  for i = 1, n do
    local to, was = tonumber(a[5 + i]), before[i] or 0
    if to < was then to = was end
    add('n' .. (i - 1), to - was)
    line = line .. ' ' .. string.format('%.0f', to)
  end
  call('HSETNX', key, 'since', now)
  call('HSET', key, 'at', now, source, line)
  if not text and call('HLEN', key) > keep + n + 3 then -- those that have been silent for longest
    local all, of = call('HGETALL', key), {}
    for i = 1, #all, 2 do
      if string.sub(all[i], 1, 3) == 'of:' and all[i] ~= source then
        of[#of + 1] = {tonumber(string.match(all[i + 1], '^%d+')), all[i]}
      end
    end
    table.sort(of, function(x, y) return x[1] < y[1] or (x[1] == y[1] and x[2] < y[2]) end)
    for i = 1, #of - keep + 1 do call('HDEL', key, of[i][2]) end
  end
  lengthen(key, life)
  return {1}
end

function op.totals(k, a)
  local out = {1}
  local fields = {'since', 'at', 'sources'}
  for i = 0, tonumber(a[1]) - 1 do fields[#fields + 1] = 'n' .. i end
  for i, v in ipairs(call('HMGET', k[1], unpack(fields))) do out[i + 1] = v or '' end
  return out
end

-- op_index.go: zset member -> deadline
function op.enter(k, a)
  local key, life, max, lapsed = k[1], tonumber(a[2]), tonumber(a[3]), tonumber(a[4])
  local n = 0
  if max > 0 then
    n = call('ZCOUNT', key, '(' .. now, '+inf')
    local had = call('ZSCORE', key, a[1])
    if not had or tonumber(had) <= now then
      if n >= max then return {0, n} end
      n = n + 1
    end
  end
  call('ZREMRANGEBYSCORE', key, '-inf', now - lapsed)
  if tonumber(a[5]) == 1 then
    local had = call('ZSCORE', key, a[1])
    if had then life = math.max(life, tonumber(had) - now) end
  end
  call('ZADD', key, now + life, a[1])
  lengthen(key, life + lapsed)
  return {1, n}
end

function op.leave(k, a)
  local unmoved = tonumber(a[2] or 0)
  if unmoved > 0 then
    local had = call('ZSCORE', k[1], a[1])
    if had and tonumber(had) ~= unmoved then return {0} end
  end
  call('ZREM', k[1], a[1])
  return {1}
end

function op.members(k, a)
  local lo, hi = '(' .. now, '+inf'
  if a[1] == '1' then lo, hi = '-inf', now end
  local list = {}
  if tonumber(a[3]) > 0 then
    list = call('ZRANGEBYSCORE', k[1], lo, hi, 'WITHSCORES', 'LIMIT', a[2], a[3])
  end
  table.insert(list, 1, call('ZCOUNT', k[1], lo, hi))
  table.insert(list, 1, 1)
  return list
end

-- op_admit.go: zsets member -> deadline and -> since when, GOING more: it has to go
local GOING = 10000000000000

local function since(key, member) return tonumber(call('ZSCORE', key, member) or 0) end

-- live members that have to go, behind what is in list already
local function going(k, list)
  for _, m in ipairs(call('ZRANGEBYSCORE', k[2], GOING, '+inf')) do
    if since(k[1], m) > now then list[#list + 1] = m end
  end
  return list
end

function op.admit(k, a)
  local live, from, member = k[1], k[2], a[1]
  local life, max, lapsed, replace, later = tonumber(a[2]), tonumber(a[3]), tonumber(a[7]), a[4] == '1', a[6] == '1'
  if call('ZCARD', from) > call('ZCARD', live) then -- left by who knows nothing of it
    for _, m in ipairs(call('ZRANGE', from, 0, -1)) do
      if not call('ZSCORE', live, m) then call('ZREM', from, m) end
    end
  end
  local had, was = since(live, member), since(from, member)
  local inside = had > now
  if was >= GOING then
    if inside and later then return {0, -1, 0} end
    inside = false -- it begins afresh
  end
  local n, gone = 0, {}
  if max > 0 then
    local rest = {}
    for i, m in ipairs(call('ZRANGEBYSCORE', live, '(' .. now, '+inf')) do
      local s = since(from, m)
      if m ~= member and (not replace or s < GOING) then rest[#rest + 1] = {m, s, i} end
    end
    n = #rest
    local over = 0
    if not inside then over = math.max(n + 1 - max, 0) end
    if over > 0 then
      local leaving = #going(k, {}) + over
      if was >= GOING and had > now then leaving = leaving - 1 end
      if not replace or leaving > max + tonumber(a[5]) then return {0, n, 0} end
      table.sort(rest, function(x, y) return x[2] < y[2] or (x[2] == y[2] and x[3] < y[3]) end)
      for i = 1, over do
        call('ZADD', from, rest[i][2] + GOING, rest[i][1])
        gone[i] = rest[i][1]
      end
    end
    n = n + 1 - over
  end
  call('ZREMRANGEBYSCORE', live, '-inf', now - lapsed)
  if later then life = math.max(life, had - now) end
  call('ZADD', live, now + life, member)
  if not (later and inside and was > 0) then call('ZADD', from, now, member) end
  lengthen(live, life + lapsed)
  lengthen(from, life + lapsed)
  local r = {1, n, #gone}
  for _, m in ipairs(gone) do r[#r + 1] = m end
  return going(k, r)
end

function op.stay(k, a)
  local life, lapsed = tonumber(a[2]), tonumber(a[3])
  call('ZREMRANGEBYSCORE', k[1], '-inf', now - lapsed)
  call('ZADD', k[1], now + life, a[1])
  call('ZADD', k[2], 'NX', now, a[1])
  lengthen(k[1], life + lapsed)
  lengthen(k[2], life + lapsed)
  return going(k, {1})
end

function op.readmit(k, a)
  local max, n, some, r = tonumber(a[1]), 0, {}, {1}
  for _, m in ipairs(call('ZRANGEBYSCORE', k[1], '(' .. now, '+inf')) do
    local s = since(k[2], m)
    if s < GOING then n = n + 1 end
    for i = 2, #a do
      if a[i] == m and s >= GOING then some[#some + 1] = {m, s, #some} end
    end
  end
  table.sort(some, function(x, y) return x[2] > y[2] or (x[2] == y[2] and x[3] < y[3]) end)
  for _, m in ipairs(some) do
    if max > 0 and n >= max then break end
    call('ZADD', k[2], m[2] - GOING, m[1])
    r[#r + 1] = m[1]
    n = n + 1
  end
  return r
end

-- op_stream.go
function op.append(k, a)
  local id = call('XADD', k[1], 'MAXLEN', '~', a[2], '*', 'e', a[1])
  if tonumber(a[3]) > 0 then call('PEXPIRE', k[1], a[3]) end
  return {1, id}
end

function op.read(k, a)
  local list
  local out = {1}
  if tonumber(a[3]) <= 0 then return out end
  if a[2] == '1' then
    list = call('XREVRANGE', k[1], '+', '(' .. a[1], 'COUNT', a[3])
    for i = #list, 1, -1 do
      out[#out + 1] = list[i][1]
      out[#out + 1] = list[i][2][2]
    end
  else
    list = call('XRANGE', k[1], '(' .. a[1], '+', 'COUNT', a[3])
    for i = 1, #list do
      out[#out + 1] = list[i][1]
      out[#out + 1] = list[i][2][2]
    end
  end
  return out
end

-- op_lease.go: zset address -> deadline, hash address -> holder NUL owner,
-- hash h<holder>, o<owner> -> address; hash SHAPE:FIRST -> next never used
local function holds(who, n)
  local v = call('HGET', who, n)
  if not v then return '', '' end
  return string.match(v, '^([^%z]*)%z(.*)$')
end

-- forget takes an address from whoever had it.
local function forget(who, of, n)
  local holder, owner = holds(who, n)
  if call('HGET', of, 'h' .. holder) == n then call('HDEL', of, 'h' .. holder) end
  if call('HGET', of, 'o' .. owner) == n then call('HDEL', of, 'o' .. owner) end
  call('HDEL', who, n)
end

local function release(til, who, of, holder)
  local n = call('HGET', of, 'h' .. holder)
  if not n then return end
  local _, owner = holds(who, n)
  call('ZADD', til, now, n)
  call('HSET', who, n, '\0' .. owner)
  call('HDEL', of, 'h' .. holder)
end

function op.lease(k, a)
  local til, who, of, next = k[1], k[2], k[3], k[4]
  local holder, owner, ttl, life, budget = a[1], a[2], tonumber(a[3]), tonumber(a[4]), tonumber(a[5])
  local shape, most = a[6], tonumber(a[7])

  local function inside(n)
    n = tonumber(n)
    for i = 8, #a, 2 do
      if n >= tonumber(a[i]) and n <= tonumber(a[i + 1]) then return true end
    end
    return false
  end
  local function take(n)
    release(til, who, of, holder) -- one outside the ranges, or the same
    forget(who, of, n)
    call('ZADD', til, now + ttl, n)
    call('HSET', who, n, holder .. '\0' .. owner)
    call('HSET', of, 'h' .. holder, n, 'o' .. owner, n)
    lengthen(til, life); lengthen(who, life); lengthen(of, life); lengthen(next, life)
    return {1, tonumber(n), 0}
  end

  local n = call('HGET', of, 'h' .. holder)
  if n and inside(n) then return take(n) end
  n = call('HGET', of, 'o' .. owner)
  if n and inside(n) and tonumber(call('ZSCORE', til, n) or 0) <= now then return take(n) end

  for i = 8, #a, 2 do -- never used
    local c = shape .. ':' .. a[i]
    local start = call('HGET', next, c)
    if not start then
      if call('HLEN', next) > most then call('DEL', next) end
      start = a[i]
    end
    start = tonumber(start)
    local cur, last = start, tonumber(a[i + 1])
    while cur <= last and budget > 0 do
      budget = budget - 1
      n = string.format('%d', cur)
      cur = cur + 1
      if not call('ZSCORE', til, n) then
        call('HSET', next, c, cur)
        return take(n)
      end
    end
    if cur ~= start then call('HSET', next, c, cur) end
    if budget <= 0 then return {0, 0, 1} end
  end

  local forgot = false
  local function done(r)
    if forgot then -- another shape of the pool may hold what was forgotten
      for _, c in ipairs(call('HKEYS', next)) do
        if string.sub(c, 1, #shape + 1) ~= shape .. ':' then call('HDEL', next, c) end
      end
    end
    return r
  end
  while budget > 0 do -- free for longest
    local free = call('ZRANGEBYSCORE', til, '-inf', now, 'LIMIT', 0, 50)
    if #free == 0 then return done({0, 0, 0}) end
    for _, f in ipairs(free) do
      budget = budget - 1
      if inside(f) then return done(take(f)) end
      forget(who, of, f) -- no longer in the pool
      call('ZREM', til, f)
      forgot = true
    end
  end
  return done({0, 0, 1})
end

function op.renew(k, a)
  local n = call('HGET', k[3], 'h' .. a[1])
  if not n then return {0} end
  call('ZADD', k[1], now + a[2], n)
  for i = 1, 4 do lengthen(k[i], tonumber(a[3])) end
  return {1, tonumber(n)}
end

function op.release(k, a)
  release(k[1], k[2], k[3], a[1])
  return {1}
end

function op.leased(k)
  return {1, call('ZCOUNT', k[1], '(' .. now, '+inf')}
end

local out = {}
local key, arg = 1, 1
while arg <= #ARGV do
  local name, nk, na = ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2])
  local k, a = {}, {}
  for i = 1, nk do k[i] = KEYS[key + i - 1] end
  for i = 1, na do a[i] = ARGV[arg + 2 + i] end
  key, arg = key + nk, arg + 3 + na
  local r = op[name](k, a)
  out[#out + 1] = r
  if r[1] == 0 then break end
end
return out
