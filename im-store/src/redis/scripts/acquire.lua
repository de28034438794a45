-- ARGV: holder ttl. Returns the token, or nothing if another holds the lock.
local last, till, holder = load()
if till > now() and holder ~= ARGV[1] then return false end
local token = math.max(now(), last + 1)
put(token, tonumber(ARGV[2]), ARGV[1])
return number(token)
