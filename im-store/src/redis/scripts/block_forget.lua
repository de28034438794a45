-- ARGV: ttl. Forgets all answers, and those that are on their way, by another generation.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('HGET', KEYS[1], '') or 0)
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], '', string.format('%.0f', math.max(now, last + 1)))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
