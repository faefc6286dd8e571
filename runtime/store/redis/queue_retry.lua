-- Makes a dead entry ready. ARGV: 2 the key.
local e = buried(ARGV[2])
if not e then
	return {'none'}
end
call('ZREM', DEAD, e.stand .. e.number)
call('ZADD', READY, 0, e.stand .. e.number)
e.at, e.tries = now, 0
call('HSET', META, e.number, pack(e))
call('HDEL', REASONS, e.number)
return {'ok'}
