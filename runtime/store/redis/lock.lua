-- store.Locks. KEYS: the lock. ARGV: what to do, for how many microseconds, the fence.
local doing, ttl, fence = ARGV[2], ARGV[3], ARGV[4]
local held = redis.call('HMGET', KEYS[1], 'f', 'u')
local last, ends = tonumber(held[1] or '0'), tonumber(held[2] or '0')
if not last or not ends then
	return {'damaged', 'a lock'}
end

-- keep stores when the lock is over. The last fence is kept for a day more: a
-- fence isn't below the time when it was given, so that after that the next one
-- is larger without it.
local function keep(micros)
	redis.call('HSET', KEYS[1], 'f', text(last), 'u', text(ends))
	if not faked then
		redis.call('PEXPIRE', KEYS[1], text(math.ceil(tonumber(micros) / 1000) + 86400000))
	end
end

if doing == 'lock' then
	if now < ends then
		return {'held'}
	end
	last, ends = math.max(last + 1, now), after(ttl)
	if last > LAST then
		return {'damaged', 'the fence of a lock'}
	end
	keep(ttl)
	return {'done', text(last)}
end

if text(last) ~= fence or now >= ends then
	return {'lost'}
end
if doing == 'renew' then
	ends = after(ttl)
	keep(ttl)
else
	ends = 0
	keep('0')
end
return {'done', fence}
