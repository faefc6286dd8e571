-- store.Board. KEYS: a key of the board. ARGV: what to do, the value (set only
-- where ARGV[4] is 1), for how many microseconds, what an exchange expects (there
-- where ARGV[6] is 1).
local doing, value, set, ttl = ARGV[2], ARGV[3], ARGV[4] == '1', ARGV[5]
local expected, expect = ARGV[6] == '1', ARGV[7]

if redis.call('STRLEN', KEYS[1]) > LARGEST and doing ~= 'put' then
	return {'damaged', 'the size of a value'}
end
if doing == 'look' then
	local there = redis.call('GET', KEYS[1])
	return there and reply(there) or {'none'}
end
if doing == 'exchange' then
	local there, data = redis.call('GET', KEYS[1]), nil
	if there then
		local answer = reply(there)
		if answer[1] == 'damaged' then
			return answer
		end
		data = answer[2]
	end
	if (data ~= nil) ~= expected or (data and data ~= expect) then
		return {'lost', data}
	end
end

if not set then
	redis.call('DEL', KEYS[1])
elseif faked then
	redis.call('SET', KEYS[1], timed(after(ttl), value))
else
	redis.call('SET', KEYS[1], timed(after(ttl), value), 'PX', text(math.min(math.ceil(tonumber(ttl) / 1000), LAST / 1000)))
end
return {'done'}
