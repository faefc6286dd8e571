-- Begins every script of a queue. All keys of a queue are in one slot.
--
-- An entry has a number, 8 bytes, big-endian, that grows in the order of
-- appending. Hashes hold what it is: NUMBERS key -> number, META, VALUES and
-- REASONS number -> the rest. Sorted sets, all scores 0, so ordered by the bytes
-- of their members, hold where it stands: ORDER the numbers of all; READY and
-- DEAD line .. number; DELAYED and CLAIMED line .. time .. number, where the time
-- is that at which it will be ready. A line is its name after its length, one byte; a
-- time is 8 bytes, big-endian. LINES are the names of the lines that have entries.
-- COUNT has the last number.
--
-- The sets decide: META of an entry whose claim has ended by its time still
-- tells of the claim. A script reads and checks entries before it begins to
-- change something: an error in the middle would leave half of it.
local COUNT, NUMBERS, META, VALUES, REASONS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ORDER, LINES = KEYS[6], KEYS[7]
local READY, DELAYED, CLAIMED, DEAD = KEYS[8], KEYS[9], KEYS[10], KEYS[11]

local call = redis.call

local function bytes(n)
	return struct.pack('>I8', n)
end

local function stand(line)
	return string.char(#line) .. line
end

-- count is how many entries of a line are in a set.
local function count(set, at)
	return call('ZLEXCOUNT', set, '[' .. at, '(' .. at .. '\255')
end

-- first is the first member of a line in a set, or nil.
local function first(set, at)
	return call('ZRANGEBYLEX', set, '[' .. at, '(' .. at .. '\255', 'LIMIT', 0, 1)[1]
end

-- advance makes ready what has become so by now in a line, up to room entries,
-- and returns the room that is left: 0 where there may be more.
local function advance(at, room)
	for _, set in ipairs({CLAIMED, DELAYED}) do
		local due = call('ZRANGEBYLEX', set, '[' .. at, '(' .. at .. bytes(now + 1), 'LIMIT', 0, room)
		if #due > 0 then
			local ready = {}
			for i, member in ipairs(due) do
				ready[2 * i - 1], ready[2 * i] = 0, at .. string.sub(member, -8)
			end
			call('ZADD', READY, unpack(ready))
			call('ZREM', set, unpack(due))
			room = room - #due
			if room <= 0 then
				return 0
			end
		end
	end
	return room
end

-- pack is an entry's META.
local function pack(e)
	return struct.pack('>I8I8I8I4B', e.appended, e.at, e.token, e.tries, #e.line) .. e.line .. e.key
end

-- part reads what a hash has of an entry, which is no more than so many bytes.
local function part(hash, number, most)
	if call('HSTRLEN', hash, number) > most then
		error('an entry is larger than one may be')
	end
	return call('HGET', hash, number)
end

-- value is that of an entry.
local function value(number)
	return part(VALUES, number, LARGEST - HEAD) or error('an entry has no value')
end

-- entry reads META; raw is what was read.
local function entry(number)
	local raw = part(META, number, 29 + 2 * 255)
	if not raw or #raw < 29 then
		error('an entry is damaged')
	end
	local e = {number = number, raw = raw}
	local length
	e.appended, e.at, e.token, e.tries, length = struct.unpack('>I8I8I8I4B', raw)
	e.line, e.key = string.sub(raw, 30, 29 + length), string.sub(raw, 30 + length)
	e.stand = stand(e.line)
	return e
end

-- claimed says whether somebody has a claim of an entry.
local function claimed(e)
	return e.at > now and call('ZSCORE', CLAIMED, e.stand .. bytes(e.at) .. e.number)
end

-- held is the entry of a key where the claim of that token, 8 bytes, is good,
-- else nil.
local function held(key, token)
	local number = call('HGET', NUMBERS, key)
	if not number then
		return nil
	end
	local e = entry(number)
	if string.sub(e.raw, 17, 24) ~= token or not claimed(e) then
		return nil
	end
	return e
end

-- unclaim takes an entry from those that are claimed.
local function unclaim(e)
	call('ZREM', CLAIMED, e.stand .. bytes(e.at) .. e.number)
end

-- buried is the dead entry of a key, or nil.
local function buried(key)
	local number = call('HGET', NUMBERS, key)
	if not number then
		return nil
	end
	local e = entry(number)
	if not call('ZSCORE', DEAD, e.stand .. number) then
		return nil
	end
	return e
end

-- forget removes what there is of an entry that stands nowhere any more.
local function forget(e)
	call('HDEL', NUMBERS, e.key)
	call('HDEL', META, e.number)
	call('HDEL', VALUES, e.number)
	call('ZREM', ORDER, e.number)
	for _, set in ipairs({CLAIMED, READY, DELAYED, DEAD}) do
		if first(set, e.stand) then
			return
		end
	end
	call('ZREM', LINES, e.line)
end
