-- Removes a dead entry. ARGV: 2 the key.
local e = buried(ARGV[2])
if not e then
	return {'none'}
end
call('ZREM', DEAD, e.stand .. e.number)
call('HDEL', REASONS, e.number)
forget(e)
return {'ok'}
