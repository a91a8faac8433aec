-- expect 3: bomb_loop_close.lua:2: used more than 50 million instructions
local t <close> = setmetatable({}, { __close = function() while true do end end })
error("x")
