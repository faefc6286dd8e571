-- Makes a claim last from now. ARGV: 2 the key, 3 the token, 4 the hold.
local e = held(ARGV[2], ARGV[3])
if not e then
	return {'none'}
end
unclaim(e)
e.at = after(ARGV[4])
call('ZADD', CLAIMED, 0, e.stand .. bytes(e.at) .. e.number)
call('HSET', META, e.number, pack(e))
return {'ok'}
