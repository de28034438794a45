-- ARGV: generation ttl, then other and 0 or 1 by turns: what the store said. Kept only if nothing was changed since the generation was read. The whole hash
-- ends when its oldest answer does.
if (redis.call('HGET', KEYS[1], '') or '') ~= ARGV[1] then return 0 end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
