-- Claims ready entries of a line. ARGV: 2 the line, 3 how many, 4 the hold, 5 the
-- first token, 6 after how many bytes of values to stop, 7 the room of advance.
-- Returns 'again', or 'ok' and of each claim its token, META and value.
local at = stand(ARGV[2])
local hold, token, most = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if advance(at, tonumber(ARGV[7])) == 0 then
	return {'again'}
end

local reply, taken, size = {'ok'}, {}, 0
for i, member in ipairs(call('ZRANGEBYLEX', READY, '[' .. at, '(' .. at .. '\255', 'LIMIT', 0, ARGV[3])) do
	local e = entry(string.sub(member, -8))
	local value = value(e.number)
	e.at, e.token = after(hold), token + i - 1
	e.member = member
	taken[i] = e
	reply[3 * i - 1], reply[3 * i], reply[3 * i + 1] = e.token, e.raw, value
	size = size + #value
	if size >= most then
		break
	end
end
for _, e in ipairs(taken) do
	call('ZREM', READY, e.member)
	call('ZADD', CLAIMED, 0, at .. bytes(e.at) .. e.number)
	call('HSET', META, e.number, pack(e))
end
return reply
