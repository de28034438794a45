-- A user's links are one hash: link -> 'epoch node life type since seen device', all but the device numbers. 'seen' is when the gate that holds the
-- link last spoke of it, in microseconds of this server's clock, as epochs are.

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function number(value)
  return string.format('%.0f', value)
end

-- Of the hash at KEYS[1] the links that count, in order of epoch. ARGV[1] is ',node:life,node:life,' of the nodes that lived at ARGV[2]; what was
-- seen after that may be of a newer one. ARGV[3] is how long a link counts that nobody speaks of. The others go.
local function load()
  local fields = redis.call('HGETALL', KEYS[1])
  local links, void, newest = {}, {}, 0
  local as_of, oldest = tonumber(ARGV[2]), now() - tonumber(ARGV[3])
  for i = 1, #fields, 2 do
    local epoch, node, life, kind, since, seen, device =
      string.match(fields[i + 1], '^(%d+) (%d+) (%-?%d+) (%-?%d+) (%-?%d+) (%d+) (.*)$')
    epoch, seen = tonumber(epoch), tonumber(seen)
    if epoch > newest then newest = epoch end
    local lives = string.find(ARGV[1], ',' .. node .. ':' .. life .. ',', 1, true)
    if (lives or seen > as_of) and seen >= oldest then
      links[#links + 1] = {conn = fields[i], epoch = epoch, seen = seen, kind = kind, device = device, value = fields[i + 1]}
    else
      void[#void + 1] = fields[i]
    end
  end
  for _, conn in ipairs(void) do redis.call('HDEL', KEYS[1], conn) end
  table.sort(links, function(a, b)
    if a.epoch == b.epoch then return a.conn < b.conn end
    return a.epoch < b.epoch
  end)
  return links, newest
end

-- Removes those of 'older' that the policy removes beside a newer link of this kind and device; they are appended to 'answer'.
local function evict(older, policy, most, kind, device, answer)
  local gone, left = {}, {}
  for _, link in ipairs(older) do
    if policy == 'one' or (policy == 'type' and link.kind == kind)
      or ((policy == 'device' or policy == 'most') and link.device == device) then
      gone[#gone + 1] = link
    else
      left[#left + 1] = link
    end
  end
  if policy == 'most' then
    for i = 1, #left + 1 - most do gone[#gone + 1] = left[i] end
    table.sort(gone, function(a, b) return a.epoch < b.epoch end)
  end
  for _, link in ipairs(gone) do
    redis.call('HDEL', KEYS[1], link.conn)
    answer[#answer + 1] = link.conn
    answer[#answer + 1] = link.value
  end
end

-- The link that ARGV[4] to ARGV[9] describe, under this epoch.
local function put(epoch)
  local value = table.concat({number(epoch), ARGV[5], ARGV[6], ARGV[7], ARGV[8], number(now()), ARGV[9]}, ' ')
  redis.call('HSET', KEYS[1], ARGV[4], value)
  redis.call('PEXPIRE', KEYS[1], number(tonumber(ARGV[3]) / 1000))
end
