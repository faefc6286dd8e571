-- Removes a claimed entry. ARGV: 2 the key, 3 the token.
local e = held(ARGV[2], ARGV[3])
if not e then
	return {'none'}
end
unclaim(e)
forget(e)
return {'ok'}
