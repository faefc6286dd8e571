-- Gives a claimed entry back. ARGV: 2 the key, 3 the token, 4 the value, 5 the
-- tries, 6 the delay.
local e = held(ARGV[2], ARGV[3])
if not e then
	return {'none'}
end
local delay = tonumber(ARGV[6])
unclaim(e)
e.at, e.token, e.tries = now, 0, tonumber(ARGV[5])
if delay > 0 then
	e.at = after(delay)
	call('ZADD', DELAYED, 0, e.stand .. bytes(e.at) .. e.number)
else
	call('ZADD', READY, 0, e.stand .. e.number)
end
call('HSET', META, e.number, pack(e))
call('HSET', VALUES, e.number, ARGV[4])
return {'ok'}
