-- Begins every script. ARGV[1] is the time to go by: empty for the server's.
local function clock()
	if ARGV[1] ~= '' then
		return tonumber(ARGV[1]), true
	end
	local t = redis.call('TIME')
	return t[1] * 1000000 + t[2], false
end

-- now is in microseconds since 1970; faked: it is a test's, and real time doesn't matter.
local now, faked = clock()

-- The last time that a number of Lua holds exactly.
local LAST = 9007199254740991

-- after is the time micros (text) from now.
local function after(micros)
	return math.min(now + tonumber(micros), LAST)
end

local function text(number)
	return string.format('%.0f', number)
end

-- A timed record: format 1, when it is over (8 bytes, big endian), data of up to
-- store.MaxValue bytes.
local FOREVER, HEAD = 0, 9
local LARGEST = HEAD + 4194304

local function timed(ends, data)
	return struct.pack('>BI8', 1, ends) .. data
end

-- readTimed returns nil where s is none.
local function readTimed(s)
	if #s < HEAD or string.byte(s) ~= 1 then
		return nil
	end
	return struct.unpack('>I8', s, 2), string.sub(s, HEAD + 1)
end

-- reply is the answer for a timed record, which is none where its time is over.
local function reply(record)
	local ends, data = readTimed(record)
	if not ends then
		return {'damaged', 'a value'}
	end
	if ends ~= FOREVER and now >= ends then
		return {'none'}
	end
	return {'done', data}
end

-- A mark, what store.Op.Once remembers: format 1, when it is over (8 bytes, big
-- endian), found (0 or 1), the number as text.
local function newMark(ends, found, number)
	return struct.pack('>BI8B', 1, ends, found) .. number
end

-- readMark returns nil where s is none.
local function readMark(s)
	if #s < 11 or string.byte(s) ~= 1 or string.byte(s, 10) > 1 then
		return nil
	end
	return struct.unpack('>I8', s, 2), string.byte(s, 10), string.sub(s, 11)
end

