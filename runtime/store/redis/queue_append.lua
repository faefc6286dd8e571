-- Appends entries, all or none. ARGV: 2 the hold, 3 the first token, then of each
-- entry its key, line, value, delay and quota. Returns 'quota', or 'ok', the time
-- and of each entry its token, 0 where it was there already.
local hold, token = tonumber(ARGV[2]), tonumber(ARGV[3])

local new, more, have = {}, {}, {}
for i = 4, #ARGV, 5 do
	local key, line, quota = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 4])
	if not new[key] and call('HEXISTS', NUMBERS, key) == 0 then
		new[key] = i
		more[line] = (more[line] or 0) + 1
		if quota > 0 then
			if not have[line] then
				local at = stand(line)
				have[line] = count(READY, at) + count(DELAYED, at) + count(CLAIMED, at)
			end
			if have[line] + more[line] > quota then
				return {'quota'}
			end
		end
	end
end

local reply = {'ok', now}
for i = 4, #ARGV, 5 do
	local key, delay, given = ARGV[i], tonumber(ARGV[i + 3]), 0
	if new[key] == i then
		local number = bytes(call('HINCRBY', COUNT, 'number', 1))
		local e = {key = key, line = ARGV[i + 1], appended = now, at = now, token = 0, tries = 0}
		local at = stand(e.line)
		if hold > 0 then
			given = token + (i - 4) / 5
			e.at, e.token = after(hold), given
			call('ZADD', CLAIMED, 0, at .. bytes(e.at) .. number)
		elseif delay > 0 then
			e.at = after(delay)
			call('ZADD', DELAYED, 0, at .. bytes(e.at) .. number)
		else
			call('ZADD', READY, 0, at .. number)
		end
		call('HSET', NUMBERS, key, number)
		call('HSET', META, number, pack(e))
		call('HSET', VALUES, number, ARGV[i + 2])
		call('ZADD', ORDER, 0, number)
		call('ZADD', LINES, 0, e.line)
	end
	reply[#reply + 1] = given
end
return reply
