-- ARGV, from 4 on: conn node life type since device policy most epoch. Returns 'gone', or 'held' with link and value of each that was evicted.
local links = load()
local epoch, policy, most = tonumber(ARGV[12]), ARGV[10], tonumber(ARGV[11])
for _, link in ipairs(links) do
  if link.conn == ARGV[4] then
    -- Not at every report: a write costs more than a look.
    if now() - link.seen > tonumber(ARGV[3]) / 8 then put(link.epoch) end
    return {'held'}
  end
end
local older, newer = {}, 0
for _, link in ipairs(links) do
  if link.epoch < epoch then
    older[#older + 1] = link
  else
    newer = newer + 1
    if (policy == 'type' and link.kind == ARGV[7])
      or ((policy == 'device' or policy == 'most') and link.device == ARGV[9]) then
      return {'gone'}
    end
  end
end
if (policy == 'one' and newer > 0) or (policy == 'most' and newer >= most) then return {'gone'} end
local answer = {'held'}
evict(older, policy, most - newer, ARGV[7], ARGV[9], answer)
put(epoch)
return answer
