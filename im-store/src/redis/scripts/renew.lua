-- KEYS[1] is the hash of all nodes: node -> 'life until renewals', until in microseconds of this server's clock. ARGV: node life ttl renewals, the
-- last in this life. Returns the renewals that were known of this life before: fewer than the node has made means that writes were lost. Returns nothing
-- and changes nothing if a later life is known.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local known = redis.call('HGET', KEYS[1], ARGV[1])
local renewals = '0'
if known then
  local life, of_life = string.match(known, '^(%-?%d+) %d+ (%d+)$')
  if tonumber(life) > tonumber(ARGV[2]) then return false end
  if life == ARGV[2] then renewals = of_life end
end
local till = string.format('%.0f', now + tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. till .. ' ' .. string.format('%.0f', ARGV[4] + 1))
return renewals
