-- KEYS[1] is the hash of all nodes. Returns the time, and node and lease of each.
local time = redis.call('TIME')
local answer = redis.call('HGETALL', KEYS[1])
table.insert(answer, 1, string.format('%.0f', time[1] * 1000000 + time[2]))
return answer
