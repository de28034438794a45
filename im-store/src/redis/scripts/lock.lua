-- A lock is 'token until holder' at KEYS[1], until in microseconds of this server's clock, as tokens are. It is kept for an hour after its end, so that
-- tokens grow also if the clock steps back.

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function number(value)
  return string.format('%.0f', value)
end

local function load()
  local known = redis.call('GET', KEYS[1])
  if not known then return 0, 0, '' end
  local token, till, holder = string.match(known, '^(%d+) (%d+) (.*)$')
  return tonumber(token), tonumber(till), holder
end

local function put(token, ttl, holder)
  local value = table.concat({number(token), number(now() + ttl), holder}, ' ')
  redis.call('SET', KEYS[1], value, 'PX', number(ttl / 1000 + 3600000))
end
