-- One store.Op. KEYS: values, expiry, marks, markExpiry, size, scratch of a bucket.
local values, expiry, marks, markExpiry, sizeKey, scratch = unpack(KEYS)
local kind, key, value, delta = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local expected, expect = ARGV[6] == '1', ARGV[7]
local ttl, quota, once, onceTTL = ARGV[8], tonumber(ARGV[9]), ARGV[10], ARGV[11]

-- How many it removes of what is over: where room is needed, and by the way.
local SWEEP, BY_THE_WAY = 500, 8

-- All keys are read before one is written: a key of a wrong type fails the
-- script, and nothing that it has written is taken back.
if redis.call('HSTRLEN', values, key) > LARGEST then
	return {'damaged', 'the size of a value'}
end
local old = redis.call('HGET', values, key)
redis.call('ZSCORE', expiry, key)
local mark = redis.call('HGET', marks, once)
redis.call('ZSCORE', markExpiry, once)
local size = tonumber(redis.call('GET', sizeKey) or '0')
if not size then
	return {'damaged', 'the size of a bucket'}
end
local before = size

if once ~= '' and mark then
	local ends, found, number = readMark(mark)
	if not ends then
		return {'damaged', 'a mark'}
	end
	if now < ends then
		return {'repeated', found, number}
	end
end

local oldEnds, oldData = FOREVER, ''
if old then
	oldEnds, oldData = readTimed(old)
	if not oldEnds then
		return {'damaged', 'a value'}
	end
end
local live = old and (oldEnds == FOREVER or now < oldEnds)

if kind == 'cas' and ((live and true or false) ~= expected or (live and oldData ~= expect)) then
	if live then
		return {'lost', 1, oldData}
	end
	return {'lost', 0}
end

local function isNumber(s)
	return s == '0' or string.find(s, '^%-?[1-9]%d*$')
end

-- add returns the sum of two decimal numbers of 64 bits as text, nil where it
-- has no room. Lua's own numbers hold 53 bits.
local function add(a, b)
	if #a <= 15 and #b <= 15 then
		return text(tonumber(a) + tonumber(b))
	end
	redis.call('SET', scratch, a)
	local sum = redis.pcall('INCRBY', scratch, b)
	if type(sum) ~= 'table' then
		sum = redis.call('GET', scratch)
	else
		sum = nil
	end
	redis.call('DEL', scratch)
	return sum
end

local ends, number = FOREVER, '0'
if tonumber(ttl) > 0 then
	ends = after(ttl)
end
if kind == 'add' then
	local have = '0'
	if live then
		have, ends = oldData, oldEnds
		if not isNumber(have) then
			return {'counter', 'text'}
		end
	end
	number = add(have, delta)
	if not number then
		return {'counter', 'range'}
	end
	value = number
end

-- sweep removes up to n values that are over, and says how many.
local function sweep(n)
	local due = redis.call('ZRANGEBYSCORE', expiry, '-inf', text(now), 'LIMIT', 0, n)
	for _, k in ipairs(due) do
		local length = redis.call('HSTRLEN', values, k)
		if length > 0 then
			size = size - #k - length + HEAD
			redis.call('HDEL', values, k)
		end
		redis.call('ZREM', expiry, k)
	end
	return #due
end

local function keepSize()
	if size == before then
		return
	end
	if size > 0 then
		redis.call('SET', sizeKey, text(size))
	else
		redis.call('DEL', sizeKey)
	end
	before = size
end

local function held()
	if old then
		return #key + #oldData
	end
	return 0
end

if kind ~= 'del' and quota > 0 and size + #key + #value - held() > quota then
	local more = sweep(SWEEP) == SWEEP
	keepSize()
	if more then
		return {'again'}
	end
	if not live then
		old = false
	end
	local grown = #key + #value - held()
	if grown > 0 and size + grown > quota then
		return {'quota', text(size + grown), text(quota)}
	end
end

if kind == 'del' then
	if old then
		redis.call('HDEL', values, key)
		redis.call('ZREM', expiry, key)
		size = size - held()
	end
else
	redis.call('HSET', values, key, timed(ends, value))
	if ends ~= FOREVER then
		redis.call('ZADD', expiry, text(ends), key)
	elseif oldEnds ~= FOREVER then
		redis.call('ZREM', expiry, key)
	end
	size = size + #key + #value - held()
end

local found = 0
if kind == 'del' and live then
	found = 1
end
if once ~= '' then
	local markEnds = after(onceTTL)
	redis.call('HSET', marks, once, newMark(markEnds, found, number))
	redis.call('ZADD', markExpiry, text(markEnds), once)
end

sweep(BY_THE_WAY)
for _, o in ipairs(redis.call('ZRANGEBYSCORE', markExpiry, '-inf', text(now), 'LIMIT', 0, BY_THE_WAY)) do
	redis.call('HDEL', marks, o)
	redis.call('ZREM', markExpiry, o)
end
keepSize()
return {'done', found, number}
