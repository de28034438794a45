-- ARGV, from 4 on: conn node life type since device policy most. Returns the epoch, and link and value of each that was evicted.
local links, newest = load()
for _, link in ipairs(links) do
  if link.conn == ARGV[4] then return {number(link.epoch)} end
end
local epoch = math.max(now(), newest + 1)
local answer = {number(epoch)}
evict(links, ARGV[10], tonumber(ARGV[11]), ARGV[7], ARGV[9], answer)
put(epoch)
return answer
