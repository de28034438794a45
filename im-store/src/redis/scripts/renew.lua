-- KEYS[1] is the hash of all nodes: node -> 'life until renewals who', until in microseconds of this server's clock. ARGV: node life ttl renewals who, the
-- renewals in this life; who is another number in every process. Returns the renewals that were known of this life before: fewer than the node has made means that
-- writes were lost. Returns nothing and changes nothing while the lease of a later life lasts, or that of another process with the same life.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local known = redis.call('HGET', KEYS[1], ARGV[1])
local renewals = '0'
if known then
  local life, till, of_life, who = string.match(known, '^(%-?%d+) (%d+) (%d+) ?(%d*)$')
  local is_other = tonumber(life) > tonumber(ARGV[2]) or (life == ARGV[2] and who ~= '' and who ~= ARGV[5])
  if is_other and tonumber(till) > now then return false end
  if life == ARGV[2] and not is_other then renewals = of_life end
end
local till = string.format('%.0f', now + tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. till .. ' ' .. string.format('%.0f', ARGV[4] + 1) .. ' ' .. ARGV[5])
return renewals
