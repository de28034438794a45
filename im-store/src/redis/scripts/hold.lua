-- ARGV: token ttl; 0 gives the lock back. Returns 1 if the lease was not over.
local token, till, holder = load()
if till <= now() or number(token) ~= ARGV[1] then return 0 end
put(token, tonumber(ARGV[2]), holder)
return 1
