-- Makes a claimed entry dead. ARGV: 2 the key, 3 the token, 4 the reason.
local e = held(ARGV[2], ARGV[3])
if not e then
	return {'none'}
end
unclaim(e)
e.at, e.token = 0, 0
call('ZADD', DEAD, 0, e.stand .. e.number)
call('HSET', META, e.number, pack(e))
call('HSET', REASONS, e.number, ARGV[4])
return {'ok'}
