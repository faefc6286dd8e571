-- A page of the lines, by name. ARGV: 2 after which, as a bound of ZRANGEBYLEX, 3
-- how many, 4 the room of advance. Returns 'again', or 'ok', the time and of each
-- line its name, how many entries are ready, delayed, claimed and dead, the
-- number of the oldest ready one or '', when that was appended, and when the next
-- of those that aren't ready will be, 0 for none.
local room = tonumber(ARGV[4])
local reply = {'ok', now}
local function add(v)
	reply[#reply + 1] = v
end

for _, line in ipairs(call('ZRANGEBYLEX', LINES, ARGV[2], '+', 'LIMIT', 0, ARGV[3])) do
	local at = stand(line)
	room = advance(at, room)
	if room == 0 then
		return {'again'}
	end
	add(line)
	for _, set in ipairs({READY, DELAYED, CLAIMED, DEAD}) do
		add(count(set, at))
	end
	local oldest = first(READY, at)
	if oldest then
		local e = entry(string.sub(oldest, -8))
		add(e.number)
		add(e.appended)
	else
		add('')
		add(0)
	end
	local next = 0
	for _, set in ipairs({DELAYED, CLAIMED}) do
		local member = first(set, at)
		if member then
			local time = struct.unpack('>I8', member, #at + 1)
			if next == 0 or time < next then
				next = time
			end
		end
	end
	add(next)
end
return reply
