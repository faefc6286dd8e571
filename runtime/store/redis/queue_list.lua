-- A page of the entries. ARGV: 2 after which number, 8 bytes, 3 how many, 4 after
-- how many bytes of values to stop. Returns 'ok' and of each entry its number,
-- META, value, reason or '', and 'claimed', 'dead' or ''.
local most, size = tonumber(ARGV[4]), 0
local reply = {'ok'}
local function add(v)
	reply[#reply + 1] = v
end

for _, number in ipairs(call('ZRANGEBYLEX', ORDER, '(' .. ARGV[2], '+', 'LIMIT', 0, ARGV[3])) do
	local e = entry(number)
	local value = value(number)
	add(number)
	add(e.raw)
	add(value)
	add(part(REASONS, number, 4096) or '')
	if call('ZSCORE', DEAD, e.stand .. number) then
		add('dead')
	elseif claimed(e) then
		add('claimed')
	else
		add('')
	end
	size = size + #value
	if size >= most then
		break
	end
end
return reply
