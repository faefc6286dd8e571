-- Removes up to ARGV[2] keys and marks of a bucket. KEYS: values, expiry, marks,
-- markExpiry, size.
local values, expiry, marks, markExpiry, sizeKey = unpack(KEYS)
local room = tonumber(ARGV[2])
local size = tonumber(redis.call('GET', sizeKey) or '0') or 0
redis.call('ZCARD', expiry)
redis.call('ZCARD', markExpiry)
redis.call('HLEN', marks)

local keys = redis.call('HRANDFIELD', values, room)
for _, k in ipairs(keys) do
	size = size - #k - redis.call('HSTRLEN', values, k) + HEAD
	redis.call('HDEL', values, k)
	redis.call('ZREM', expiry, k)
end
local left = redis.call('HLEN', values)
if left == 0 or size <= 0 then
	redis.call('DEL', sizeKey)
elseif #keys > 0 then
	redis.call('SET', sizeKey, text(size))
end
if left > 0 then
	return {'done', 1}
end
redis.call('DEL', expiry)

if room > #keys then
	for _, o in ipairs(redis.call('HRANDFIELD', marks, room - #keys)) do
		redis.call('HDEL', marks, o)
		redis.call('ZREM', markExpiry, o)
	end
end
if redis.call('HLEN', marks) > 0 then
	return {'done', 1}
end
redis.call('DEL', markExpiry)
return {'done', 0}
