-- Reads a value of a bucket. KEYS: values. ARGV: key.
local length = redis.call('HSTRLEN', KEYS[1], ARGV[2])
if length == 0 then
	return {'none'}
end
if length > LARGEST then
	return {'damaged', 'the size of a value'}
end
return reply(redis.call('HGET', KEYS[1], ARGV[2]))
