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

